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
app.kubernetes.io/version: {{ .Values.image.tag | default .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}

{{- define "rcnn.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "rcnn.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{/* A digest names the bytes, so it wins over a tag. */}}
{{- define "rcnn.image" -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" .Values.image.repository (.Values.image.tag | default .Chart.AppVersion) -}}
{{- end -}}
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
{{- with .Values.model }}
{{- if .existingClaim }}
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

{{/* What no schema can say: values that are fine alone and wrong together. Each failure says what to set. */}}
{{- define "rcnn.checkValues" -}}
{{- $flush := 5 -}}
{{- /* 25: the service's default, when the key was taken out */ -}}
{{- $drain := hasKey .Values.settings "drainTimeoutS" | ternary .Values.settings.drainTimeoutS 25 | ceil | int -}}
{{- $needed := add .Values.preStopSleepSeconds $drain $flush -}}
{{- if lt (int .Values.terminationGracePeriodSeconds) (int $needed) -}}
{{- fail (printf "\n\nterminationGracePeriodSeconds is %d, but a stopping pod needs %d: %d (preStopSleepSeconds) + %d (settings.drainTimeoutS) + %d (closing and flushing).\nKubernetes would kill it with requests still inside. Set terminationGracePeriodSeconds to at least %d, or shorten one of the others.\n" (int .Values.terminationGracePeriodSeconds) (int $needed) (int .Values.preStopSleepSeconds) $drain $flush (int $needed)) -}}
{{- end -}}
{{- with .Values.model -}}
{{- if and .existingClaim (not .bundles) -}}
{{- fail (printf "\n\nmodel.existingClaim is %q, but model.bundles is empty.\nName the bundles to serve, relative to the claim's root, for example: --set 'model.bundles={maskrcnn-r50/3}'\n" .existingClaim) -}}
{{- end -}}
{{- if and .bundles (not .existingClaim) -}}
{{- fail "\n\nmodel.bundles names bundles on a claim, but model.existingClaim is empty.\nSet model.existingClaim to the claim that holds them, or leave model.bundles empty to serve the image's own.\n" -}}
{{- end -}}
{{- end -}}
{{- end -}}
