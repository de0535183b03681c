{{/* The names by which other objects refer to what scales and what takes traffic. */}}
{{- define "rcnn.canaryService" -}}
{{ printf "%s-canary" (include "rcnn.fullname" . | trunc 56 | trimSuffix "-") }}
{{- end -}}

{{- define "rcnn.scaleTarget" -}}
{{- if eq .Values.canary.engine "argo" -}}
apiVersion: argoproj.io/v1alpha1
kind: Rollout
{{- else -}}
apiVersion: apps/v1
kind: Deployment
{{- end }}
name: {{ include "rcnn.fullname" . }}
{{- end -}}

{{/* For Flagger, which copies the autoscaler for the primary. */}}
{{- define "rcnn.autoscalerRef" -}}
{{- if eq .Values.autoscaling.kind "hpa" -}}
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
name: {{ include "rcnn.fullname" . }}
{{- else if eq .Values.autoscaling.kind "keda" -}}
apiVersion: keda.sh/v1alpha1
kind: ScaledObject
name: {{ include "rcnn.fullname" . }}
{{- end -}}
{{- end -}}

{{/* How Argo Rollouts moves traffic: as told, or by this chart's own routes. Empty: by the share of pods. */}}
{{- define "rcnn.trafficRouting" -}}
{{- if .Values.canary.trafficRouting -}}
{{- toYaml .Values.canary.trafficRouting -}}
{{- else if or .Values.gateway.http.enabled .Values.gateway.grpc.enabled -}}
plugins:
  argoproj-labs/gatewayAPI:
    namespace: {{ .Release.Namespace }}
    {{- if .Values.gateway.http.enabled }}
    httpRoutes: [{name: {{ include "rcnn.fullname" . }}}]
    {{- end }}
    {{- if .Values.gateway.grpc.enabled }}
    grpcRoutes: [{name: {{ include "rcnn.fullname" . }}}]
    {{- end }}
{{- end -}}
{{- end -}}

{{/* Where a route sends requests, by weight: (list root port). */}}
{{- define "rcnn.backends" -}}
{{- $root := index . 0 -}}
{{- $gateway := $root.Values.gateway -}}
{{- if eq $root.Values.canary.engine "argo" -}}
- {name: {{ include "rcnn.fullname" $root }}, port: {{ index . 1 }}, weight: 100}
- {name: {{ include "rcnn.canaryService" $root }}, port: {{ index . 1 }}, weight: 0}
{{- else if $gateway.canary.service -}}
- {name: {{ include "rcnn.fullname" $root }}, port: {{ index . 1 }}, weight: {{ sub 100 (int $gateway.canary.weight) }}}
- {name: {{ $gateway.canary.service }}, port: {{ index . 1 }}, weight: {{ int $gateway.canary.weight }}}
{{- else -}}
- {name: {{ include "rcnn.fullname" $root }}, port: {{ index . 1 }}, weight: 100}
{{- end -}}
{{- end -}}
