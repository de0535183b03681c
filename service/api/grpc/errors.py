"""Errors -> gRPC status codes. The table is total: a test walks the tree."""

import grpc

from service import errors

CODE: dict[type[errors.ServiceError], grpc.StatusCode] = {
    errors.InvalidOption: grpc.StatusCode.INVALID_ARGUMENT,
    errors.InvalidRequest: grpc.StatusCode.INVALID_ARGUMENT,
    errors.ModelNotFound: grpc.StatusCode.NOT_FOUND,
    errors.BodyTooSlow: grpc.StatusCode.DEADLINE_EXCEEDED,
    errors.PayloadTooLarge: grpc.StatusCode.INVALID_ARGUMENT,
    errors.ImageTooLarge: grpc.StatusCode.INVALID_ARGUMENT,
    errors.UnsupportedMediaType: grpc.StatusCode.INVALID_ARGUMENT,
    errors.UndecodableImage: grpc.StatusCode.INVALID_ARGUMENT,
    errors.AnswerTooLarge: grpc.StatusCode.INVALID_ARGUMENT,
    errors.CallerLeft: grpc.StatusCode.CANCELLED,
    errors.NotPermitted: grpc.StatusCode.PERMISSION_DENIED,
    errors.NotOffered: grpc.StatusCode.UNIMPLEMENTED,
    errors.Overloaded: grpc.StatusCode.RESOURCE_EXHAUSTED,
    errors.NotReady: grpc.StatusCode.UNAVAILABLE,
    errors.DeadlineExceeded: grpc.StatusCode.DEADLINE_EXCEEDED,
    errors.EngineFailed: grpc.StatusCode.INTERNAL,
    errors.BundleInvalid: grpc.StatusCode.INTERNAL,
}
