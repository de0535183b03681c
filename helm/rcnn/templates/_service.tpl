{{/* (list root name component) -> a Service in front of the server's pods. */}}
{{- define "rcnn.service" -}}
{{- $root := index . 0 -}}
apiVersion: v1
kind: Service
metadata:
  name: {{ index . 1 }}
  labels:
    {{- include "rcnn.commonLabels" $root | nindent 4 }}
    app.kubernetes.io/component: {{ index . 2 }}
  {{- with $root.Values.service.annotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  type: {{ $root.Values.service.type }}
  selector:
    {{- include "rcnn.selectorLabels" $root | nindent 4 }}
  ports:
    - name: http
      port: {{ $root.Values.service.httpPort }}
      targetPort: http
      appProtocol: {{ include "rcnn.scheme" $root }}
    - name: grpc
      port: {{ $root.Values.service.grpcPort }}
      targetPort: grpc
      # HTTP/2, without TLS under Kubernetes' own name: tells gateways and meshes to balance calls, not connections.
      appProtocol: {{ ternary "https" "kubernetes.io/h2c" (ne $root.Values.tls.secretName "") }}
    - name: metrics
      port: {{ $root.Values.service.metricsPort }}
      targetPort: metrics
      appProtocol: {{ include "rcnn.scheme" $root }}
{{- end -}}
