// Detect over gRPC in Go: go run . localhost:8001 image.png
//
// The stubs in rcnnv1/ are generated; README.md says how.
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"example.com/rcnn-client/rcnnv1"
)

func main() {
	address, path := os.Args[1], os.Args[2]
	image, err := os.ReadFile(path)
	if err != nil {
		log.Fatal(err)
	}
	connection, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		log.Fatal(err)
	}
	defer connection.Close()

	// The call's deadline is the request's deadline; once it has passed the service drops the work.
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	threshold := float32(0.5)
	answer, err := rcnnv1.NewDetectionServiceClient(connection).Detect(ctx, &rcnnv1.DetectRequest{
		Image:   image,
		Options: &rcnnv1.DetectOptions{ScoreThreshold: &threshold},
	})
	if err != nil {
		log.Fatal(err) // the status' message says what is wrong and what to do
	}
	for _, found := range answer.Detections {
		box := found.Box
		fmt.Printf("%s %.3f %.1f %.1f %.1f %.1f\n", found.Label, found.Score, box.X1, box.Y1, box.X2, box.Y2)
	}
}
