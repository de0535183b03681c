{{/* The judge of a release: which one is asked, what the releases are called, and what stable pods ask the candidate. */}}

{{/* Whether this release runs a judge of its own. */}}
{{- define "rcnn.ownJudge" -}}
{{- with .Values.canary -}}
{{- if and .judge.prometheusUrl (not .judge.url) (or (ne .engine "none") $.Values.gateway.canary.service) -}}true{{- end -}}
{{- end -}}
{{- end -}}

{{- define "rcnn.judgeName" -}}
{{ printf "%s-judge" (include "rcnn.fullname" . | trunc 57 | trimSuffix "-") }}
{{- end -}}

{{/* (list root path) -> the URL under which the judge answers Argo (/verdict) or Flagger (/flagger). */}}
{{- define "rcnn.judgeUrl" -}}
{{- $root := index . 0 -}}
{{- if $root.Values.canary.judge.url -}}
{{- $root.Values.canary.judge.url -}}
{{- else -}}
{{- printf "http://%s.%s:8010%s" (include "rcnn.judgeName" $root) $root.Release.Namespace (index . 1) -}}
{{- end -}}
{{- end -}}

{{/* Another name than the server's pods: Flagger's Services select by it alone, and would send callers to the judge. */}}
{{- define "rcnn.judgeLabels" -}}
app.kubernetes.io/name: {{ printf "%s-judge" (include "rcnn.name" . | trunc 57 | trimSuffix "-") }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: judge
{{- end -}}

{{/* Whose answers are compared with this release's: the Service of the candidate. Empty: nobody's. */}}
{{- define "rcnn.shadowed" -}}
{{- if and .Values.canary.shadow.share (not .Values.settings.shadowUrl) -}}
{{- if ne .Values.canary.engine "none" -}}
{{- include "rcnn.canaryService" . -}}
{{- else -}}
{{- .Values.gateway.canary.service -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/*
What this release is called among the judge's counts: another name for every other pod template, the same for the same. It is in the
pods' environment, so it is made of the template without that environment.
*/}}
{{- define "rcnn.release" -}}
{{- if .Values.settings.release -}}
{{- .Values.settings.release -}}
{{- else if not (include "rcnn.shadowed" .) -}}
{{- include "rcnn.version" . -}}
{{- else -}}
{{- $unnamed := dict "unnamed" true "Values" .Values "Release" .Release "Chart" .Chart "Capabilities" .Capabilities "Template" .Template -}}
{{- printf "%s-%s" (include "rcnn.version" . | trunc 50) (include "rcnn.podTemplate" $unnamed | sha256sum | trunc 10) -}}
{{- end -}}
{{- end -}}

{{/* The same, and nothing where the pods do not call themselves anything. */}}
{{- define "rcnn.namedRelease" -}}
{{- if or .Values.settings.release (include "rcnn.shadowed" .) -}}{{- include "rcnn.release" . -}}{{- end -}}
{{- end -}}

{{/* Stable and candidate are made of one template: whoever meets itself behind the candidate's Service counts nothing. */}}
{{- define "rcnn.shadowEnvironment" -}}
{{- if not (hasKey . "unnamed") }}
{{- with include "rcnn.shadowed" . }}
{{- if not $.Values.settings.release }}
- name: RCNN_RELEASE
  value: {{ include "rcnn.release" $ | quote }}
{{- end }}
- name: RCNN_SHADOW_URL
  value: {{ printf "%s://%s:%d" (include "rcnn.scheme" $) . (int $.Values.service.httpPort) | quote }}
{{- if $.Values.tls.secretName }}
- name: RCNN_SHADOW_CA
  value: /etc/rcnn/tls/ca.crt
{{- end }}
{{- if $.Values.canary.shadow.secretName }}
- name: RCNN_SHADOW_KEY
  value: /etc/rcnn/shadow/key
{{- end }}
{{- if not $.Values.settings.shadowShare }}
- name: RCNN_SHADOW_SHARE
  value: {{ $.Values.canary.shadow.share | quote }}
{{- end }}
{{- if not $.Values.settings.shadowCandidate }}
- name: RCNN_SHADOW_CANDIDATE
  value: {{ . | quote }}
{{- end }}
{{- end }}
{{- end }}
{{- end -}}

{{/* What selects the pods of this release in any role: Flagger renames those it makes. */}}
{{- define "rcnn.everyPodLabels" -}}
{{- if eq .Values.canary.engine "flagger" -}}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: server
{{- else -}}
{{- include "rcnn.selectorLabels" . -}}
{{- end -}}
{{- end -}}

{{/* To the candidate, and to whoever knows its address. */}}
{{- define "rcnn.shadowEgress" -}}
{{- if include "rcnn.shadowed" . -}}
- to:
    - podSelector:
        matchLabels:
          {{- include "rcnn.candidateLabels" . | nindent 10 }}
  ports:
    - {port: http, protocol: TCP}
- ports:
    - {port: 53, protocol: UDP}
    - {port: 53, protocol: TCP}
{{- end -}}
{{- end -}}

{{- define "rcnn.candidateLabels" -}}
{{- if eq .Values.canary.engine "none" -}}
app.kubernetes.io/component: server
{{- else -}}
{{- include "rcnn.everyPodLabels" . -}}
{{- end -}}
{{- end -}}

{{- define "rcnn.checkJudge" -}}
{{- if include "rcnn.shadowed" . -}}
{{- $keys := or .Values.apiKeys.secretName .Values.settings.apiKeys -}}
{{- if and (or $keys .Values.settings.tokenKeys) (not (and $keys .Values.canary.shadow.secretName)) -}}
{{- include "rcnn.refuse" "canary.shadow.share is above 0, but callers must show a key or token: the candidate would refuse the questions of stable pods, which carry none.\nName a Secret with an API key in canary.shadow.secretName, or set canary.shadow.share to 0." -}}
{{- end -}}
{{- if or .Values.settings.tlsCertificate .Values.tls.clientCaSecretName (and .Values.tls.secretName (not .Values.tls.certManager.enabled)) -}}
{{- include "rcnn.refuse" "canary.shadow.share is above 0, but the pods speak TLS: stable pods cannot ask a candidate whose certificate may name another host, or that asks for theirs.\nLet tls.certManager make the certificates, without tls.clientCaSecretName; or set canary.shadow.share to 0 and settings.shadowUrl to a name that the certificate holds." -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "rcnn.judgeContainer" -}}
- name: judge
  image: {{ include "rcnn.image" . }}
  imagePullPolicy: {{ .Values.image.pullPolicy }}
  securityContext:
    {{- include "rcnn.containerSecurityContext" . | nindent 4 }}
  command: [/opt/rcnn/bin/python, -m, service.cli, gate, serve]
  args:
    - --prometheus={{ .Values.canary.judge.prometheusUrl }}
    - --host=0.0.0.0
    - --port=8010
    - --horizon-minutes={{ .Values.canary.judge.horizonMinutes }}
    # Only what this release's own stable pods have counted.
    - --selector=namespace="{{ .Release.Namespace }}",job="{{ include "rcnn.fullname" . }}"
    {{- with .Values.settings.shadowShare | default .Values.canary.shadow.share }}
    {{- if lt (float64 .) 1.0 }}
    - --share={{ . }}
    {{- end }}
    {{- end }}
    {{- range .Values.canary.judge.args }}
    - {{ . | quote }}
    {{- end }}
  ports:
    - name: http
      containerPort: 8010
  readinessProbe:
    httpGet: {path: /healthz, port: http}
    periodSeconds: 5
    timeoutSeconds: 2
  livenessProbe:
    httpGet: {path: /healthz, port: http}
    periodSeconds: 10
    timeoutSeconds: 5
  resources:
    {{- toYaml .Values.canary.judge.resources | nindent 4 }}
{{- end -}}
