{{/* Folders, not single files: the kubelet renews only those. */}}
{{- define "rcnn.secretMounts" -}}
{{- range $name, $secret := include "rcnn.secrets" . | fromYaml }}
- {name: {{ $name }}, mountPath: /etc/rcnn/{{ $name }}, readOnly: true}
{{- end }}
{{- end -}}

{{- define "rcnn.secretVolumes" -}}
{{- range $name, $secret := include "rcnn.secrets" . | fromYaml }}
- name: {{ $name }}
  secret:
    secretName: {{ $secret }}
{{- end }}
{{- end -}}

{{/* {folder below /etc/rcnn: Secret} */}}
{{- define "rcnn.secrets" -}}
{{- with .Values.apiKeys.secretName }}
keys: {{ . }}
{{- end }}
{{- with .Values.tls.secretName }}
tls: {{ . }}
{{- end }}
{{- with .Values.tls.clientCaSecretName }}
client-ca: {{ . }}
{{- end }}
{{- if include "rcnn.shadowed" . }}
{{- with .Values.canary.shadow.secretName }}
shadow: {{ . }}
{{- end }}
{{- end }}
{{- end -}}

{{- define "rcnn.secretEnvironment" -}}
{{- if .Values.apiKeys.secretName }}
- name: RCNN_API_KEYS
  value: /etc/rcnn/keys/keys.toml
{{- end }}
{{- if .Values.tls.secretName }}
- name: RCNN_TLS_CERTIFICATE
  value: /etc/rcnn/tls/tls.crt
- name: RCNN_TLS_KEY
  value: /etc/rcnn/tls/tls.key
{{- end }}
{{- if .Values.tls.clientCaSecretName }}
- name: RCNN_TLS_CLIENT_CA
  value: /etc/rcnn/client-ca/ca.crt
{{- end }}
{{- end -}}

{{- define "rcnn.scheme" -}}
{{- ternary "https" "http" (ne .Values.tls.secretName "") -}}
{{- end -}}
