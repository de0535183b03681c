{{/* Up at once and at most twofold in half a minute; down by a pod a minute, after demand has stayed low for a while. */}}
{{- define "rcnn.scalingBehaviour" -}}
scaleUp:
  stabilizationWindowSeconds: 0
  policies:
    - {type: Percent, value: 100, periodSeconds: 30}
    - {type: Pods, value: 1, periodSeconds: 30}
  selectPolicy: Max
scaleDown:
  stabilizationWindowSeconds: {{ .Values.autoscaling.scaleDownAfterSeconds }}
  policies:
    - {type: Pods, value: 1, periodSeconds: 60}
{{- end -}}

{{/* A number as a Kubernetes quantity in its canonical form: 0.2 -> 200m, 1 -> "1". */}}
{{- define "rcnn.quantity" -}}
{{- $milli := round (mulf . 1000) 0 | int64 -}}
{{- if mod $milli 1000 }}{{ printf "%dm" $milli }}{{ else }}{{ div $milli 1000 | toString | quote }}{{ end -}}
{{- end -}}
