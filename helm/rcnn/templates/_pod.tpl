{{/* The pod: the same under a Deployment and under a Rollout. */}}
{{- define "rcnn.podTemplate" -}}
metadata:
  labels:
    {{- include "rcnn.selectorLabels" . | nindent 4 }}
    # On the pods, so that metrics tell old from new.
    app.kubernetes.io/version: {{ include "rcnn.version" . | quote }}
    {{- if not (hasKey . "unnamed") }}
    {{- with include "rcnn.namedRelease" . }}
    # The same as RCNN_RELEASE, which answers, metrics and audit lines carry. At most 63 characters, as labels are.
    rcnn/release: {{ . | trunc 63 | trimAll "-_." | quote }}
    {{- end }}
    {{- end }}
    {{- with .Values.podLabels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- with .Values.podAnnotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  serviceAccountName: {{ include "rcnn.serviceAccountName" . }}
  automountServiceAccountToken: false
  # Kubernetes would add a variable for every Service of the namespace; one named "rcnn" gives RCNN_PORT=tcp://...,
  # which reads like a setting of ours.
  enableServiceLinks: false
  securityContext:
    {{- include "rcnn.podSecurityContext" . | nindent 4 }}
  {{- with .Values.imagePullSecrets }}
  imagePullSecrets:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.priorityClassName }}
  priorityClassName: {{ . }}
  {{- end }}
  {{- with .Values.runtimeClassName }}
  runtimeClassName: {{ . }}
  {{- end }}
  # preStop sleep + drain + flush; checked when the chart is rendered.
  terminationGracePeriodSeconds: {{ .Values.terminationGracePeriodSeconds }}
  {{- if eq .Values.model.source "fetch" }}
  initContainers:
    {{- include "rcnn.fetchContainer" . | nindent 4 }}
  {{- end }}
  containers:
    {{- include "rcnn.serverContainer" . | nindent 4 }}
  volumes:
    {{- include "rcnn.volumes" . | nindent 4 }}
  {{- if eq .Values.gpu.kind "dra" }}
  resourceClaims:
    - name: gpu
      resourceClaimTemplateName: {{ include "rcnn.fullname" . }}
  {{- end }}
  topologySpreadConstraints:
    {{- include "rcnn.topologySpread" . | nindent 4 }}
  {{- with .Values.nodeSelector }}
  nodeSelector:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with include "rcnn.tolerations" . }}
  tolerations:
    {{- . | nindent 4 }}
  {{- end }}
  {{- with .Values.affinity }}
  affinity:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end -}}

{{- define "rcnn.serverContainer" -}}
- name: rcnn
  image: {{ include "rcnn.image" . }}
  imagePullPolicy: {{ .Values.image.pullPolicy }}
  securityContext:
    {{- include "rcnn.containerSecurityContext" . | nindent 4 }}
  ports:
    - name: http
      containerPort: 8000
    - name: grpc
      containerPort: 8001
    - name: metrics
      containerPort: 8002
  env:
    {{- include "rcnn.environment" . | trim | nindent 4 }}
    {{- with .Values.extraEnv }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  startupProbe:
    {{- include "rcnn.probe" (list . "/startupz" .Values.probes.startup) | nindent 4 }}
  readinessProbe:
    {{- include "rcnn.probe" (list . "/readyz" .Values.probes.readiness) | nindent 4 }}
  livenessProbe:
    {{- include "rcnn.probe" (list . "/livez" .Values.probes.liveness) | nindent 4 }}
  lifecycle:
    preStop:
      {{- if or (semverCompare "<1.30-0" .Capabilities.KubeVersion.Version) (eq .Values.canary.engine "flagger") }}
      # Kubernetes sleeps by itself from 1.30 on; before it the image's Python does, there is no shell. And under Flagger: releases of
      # it that know the pods of Kubernetes 1.27 lose the sleep when they copy the Deployment, and the copy is refused.
      exec:
        command: [/opt/rcnn/bin/python, -c, "import time; time.sleep({{ .Values.preStopSleepSeconds }})"]
      {{- else }}
      sleep:
        seconds: {{ .Values.preStopSleepSeconds }}
      {{- end }}
  resources:
    {{- include "rcnn.resources" . | nindent 4 }}
  volumeMounts:
    - name: tmp
      mountPath: /tmp
    - name: cache
      mountPath: /var/cache/rcnn
    {{- if ne .Values.model.source "baked" }}
    - name: models
      mountPath: {{ .Values.model.mountPath }}
      readOnly: true
    {{- end }}
    {{- include "rcnn.secretMounts" . | nindent 4 }}
    {{- with .Values.extraVolumeMounts }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
{{- end -}}

{{- define "rcnn.probe" -}}
{{- $values := (index . 0).Values -}}
{{- if or $values.tls.secretName $values.settings.tlsCertificate -}}
{{- /* the kubelet has no certificate to show, should one be asked for; the metrics port asks for none */ -}}
httpGet: {path: {{ index . 1 }}, port: metrics, scheme: HTTPS}
{{- else -}}
httpGet: {path: {{ index . 1 }}, port: http}
{{- end }}
{{ toYaml (index . 2) }}
{{- end -}}

{{/* resources of the values, with the GPU that gpu.kind asks for. */}}
{{- define "rcnn.resources" -}}
{{- $resources := deepCopy .Values.resources -}}
{{- if eq .Values.gpu.kind "plugin" -}}
{{- $gpus := dict .Values.gpu.resourceName (int .Values.gpu.count) -}}
{{- $_ := set $resources "limits" (merge $gpus ($resources.limits | default dict)) -}}
{{- else if eq .Values.gpu.kind "dra" -}}
{{- $_ := set $resources "claims" (list (dict "name" "gpu")) -}}
{{- end -}}
{{- toYaml $resources -}}
{{- end -}}

{{/* Nodes with GPUs are usually tainted with the resource's name, to keep others off. */}}
{{- define "rcnn.tolerations" -}}
{{- $tolerations := .Values.tolerations -}}
{{- if ne .Values.gpu.kind "none" -}}
{{- $tolerations = append $tolerations (dict "key" .Values.gpu.resourceName "operator" "Exists" "effect" "NoSchedule") -}}
{{- end -}}
{{- with $tolerations }}{{ toYaml . }}{{ end -}}
{{- end -}}

{{- define "rcnn.volumes" -}}
- name: tmp
  emptyDir:
    medium: Memory
    sizeLimit: {{ .Values.tmpSizeLimit }}
- name: cache
  emptyDir:
    sizeLimit: {{ .Values.cacheSizeLimit }}
{{- with .Values.model }}
{{- if eq .source "claim" }}
- name: models
  persistentVolumeClaim:
    claimName: {{ .claim.name }}
    readOnly: true
{{- else if eq .source "image" }}
- name: models
  image:
    reference: {{ .image.reference }}
    pullPolicy: {{ .image.pullPolicy }}
{{- else if eq .source "fetch" }}
- name: models
  emptyDir:
    sizeLimit: {{ .fetch.sizeLimit }}
{{- end }}
{{- end }}
{{- include "rcnn.secretVolumes" . }}
{{- with .Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* Copies the bundles into the pod before the service starts. The service itself then has no need of keys to the store. */}}
{{- define "rcnn.fetchContainer" -}}
- name: fetch-models
  image: {{ .Values.model.fetch.image | default (include "rcnn.fetchImage" .) }}
  imagePullPolicy: {{ .Values.image.pullPolicy }}
  securityContext:
    {{- include "rcnn.containerSecurityContext" . | nindent 4 }}
  args:
    - {{ .Values.model.fetch.url | quote }}
    - {{ .Values.model.mountPath }}
    {{- range .Values.model.bundles }}
    - {{ . }}
    {{- end }}
  {{- with .Values.model.fetch.env }}
  env:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.model.fetch.secretName }}
  envFrom:
    - secretRef:
        name: {{ . }}
  {{- end }}
  resources:
    {{- toYaml .Values.model.fetch.resources | nindent 4 }}
  volumeMounts:
    - name: tmp
      mountPath: /tmp
    - name: models
      mountPath: {{ .Values.model.mountPath }}
{{- end -}}

{{- define "rcnn.topologySpread" -}}
{{- if .Values.topologySpreadConstraints -}}
{{- toYaml .Values.topologySpreadConstraints -}}
{{- else -}}
{{- range $index, $key := list "topology.kubernetes.io/zone" "kubernetes.io/hostname" }}
{{- if $index }}
{{ end -}}
- maxSkew: 1
  topologyKey: {{ $key }}
  whenUnsatisfiable: ScheduleAnyway
  labelSelector:
    matchLabels:
      {{- include "rcnn.selectorLabels" $ | nindent 6 }}
  # Old and new pods are counted apart, or a rollout would spread against the pods it replaces.
  matchLabelKeys: [{{ include "rcnn.podHashLabel" $ }}]
{{- end }}
{{- end -}}
{{- end -}}

{{/* The label by which a controller tells the pods of one revision from those of another. */}}
{{- define "rcnn.podHashLabel" -}}
{{- eq .Values.canary.engine "argo" | ternary "rollouts-pod-template-hash" "pod-template-hash" -}}
{{- end -}}
