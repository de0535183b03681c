{{/* The release's name, at most 63 characters as DNS wants it: "prod" -> prod-rcnn, "rcnn" -> rcnn. */}}
{{- define "rcnn.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" -}}
{{- else if contains (include "rcnn.name" .) .Release.Name -}}
{{- .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "rcnn.name" .) | trunc 63 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "rcnn.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{/* What selects the pods. Never changes over a release's life: a Deployment's selector is immutable. */}}
{{- define "rcnn.selectorLabels" -}}
app.kubernetes.io/name: {{ include "rcnn.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: server
{{- end -}}

{{/* On every object. */}}
{{- define "rcnn.labels" -}}
{{ include "rcnn.commonLabels" . }}
app.kubernetes.io/component: server
{{- end -}}

{{- define "rcnn.commonLabels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
app.kubernetes.io/name: {{ include "rcnn.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ include "rcnn.version" . | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}

{{- define "rcnn.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "rcnn.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "rcnn.version" -}}
{{- .Values.image.tag | default .Chart.AppVersion -}}
{{- end -}}

{{/* The image for GPUs has CUDA's libraries in it and a tag of its own. */}}
{{- define "rcnn.tag" -}}
{{- .Values.image.tag | default (eq .Values.gpu.kind "none" | ternary .Chart.AppVersion (printf "%s-gpu" .Chart.AppVersion)) -}}
{{- end -}}

{{/* A digest names the bytes, so it wins over a tag. */}}
{{- define "rcnn.image" -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" .Values.image.repository (include "rcnn.tag" .) -}}
{{- end -}}
{{- end -}}

{{- define "rcnn.fetchImage" -}}
{{- printf "%s:%s-fetch" .Values.image.repository .Chart.AppVersion -}}
{{- end -}}

{{/* The restricted Pod Security Standard, for a pod and for each of its containers. */}}
{{- define "rcnn.podSecurityContext" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{- define "rcnn.containerSecurityContext" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end -}}

{{/*
settings.maxInFlight: 64 -> RCNN_MAX_IN_FLIGHT="64", in alphabetical order.
Helm reads every number as a float and would write 20971520 as 2.097152e+07: whole ones are turned back into integers.
*/}}
{{- define "rcnn.environment" -}}
{{- range $key, $value := .Values.settings }}
{{- if not (kindIs "invalid" $value) }}
{{- if kindIs "float64" $value }}
{{- if eq $value (floor $value) }}{{ $value = int64 $value }}{{ end }}
{{- end }}
- name: RCNN_{{ $key | snakecase | upper }}
  value: {{ $value | toString | quote }}
{{- end }}
{{- end }}
{{- if not (hasKey .Values.settings "engineCache") }}
- name: RCNN_ENGINE_CACHE
  value: /var/cache/rcnn
{{- end }}
{{- include "rcnn.secretEnvironment" . }}
{{- include "rcnn.shadowEnvironment" . }}
{{- with .Values.model }}
{{- if .bundles }}
- name: RCNN_BUNDLES
  value: {{ include "rcnn.bundlePaths" . | quote }}
{{- end }}
{{- end }}
{{- end -}}

{{- define "rcnn.bundlePaths" -}}
{{- $paths := list -}}
{{- range .bundles }}{{ $paths = append $paths (printf "%s/%s" (trimSuffix "/" $.mountPath) .) }}{{ end -}}
{{- join "," $paths -}}
{{- end -}}
