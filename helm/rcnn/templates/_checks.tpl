{{/* What no schema can say: values that are fine alone and wrong together. Each failure says what to set. */}}
{{- define "rcnn.checkValues" -}}
{{- include "rcnn.checkStop" . -}}
{{- include "rcnn.checkDeadline" . -}}
{{- include "rcnn.checkModel" . -}}
{{- include "rcnn.checkMemory" . -}}
{{- include "rcnn.checkEngine" . -}}
{{- include "rcnn.checkCluster" . -}}
{{- include "rcnn.checkScaling" . -}}
{{- include "rcnn.checkCanary" . -}}
{{- include "rcnn.checkJudge" . -}}
{{- include "rcnn.checkGateway" . -}}
{{- include "rcnn.checkMetrics" . -}}
{{- include "rcnn.checkTls" . -}}
{{- end -}}

{{/* A sentence on a line of its own, between helm's. */}}
{{- define "rcnn.refuse" -}}
{{- fail (printf "\n\n%s\n" .) -}}
{{- end -}}

{{/* 25: the service's default, when the key was taken out */}}
{{- define "rcnn.drainSeconds" -}}
{{- hasKey .Values.settings "drainTimeoutS" | ternary .Values.settings.drainTimeoutS 25 | ceil | int -}}
{{- end -}}

{{- define "rcnn.checkStop" -}}
{{- $flush := 5 -}}
{{- $drain := include "rcnn.drainSeconds" . | int -}}
{{- $grace := int .Values.terminationGracePeriodSeconds -}}
{{- $needed := add .Values.preStopSleepSeconds $drain $flush | int -}}
{{- if lt $grace $needed -}}
{{- include "rcnn.refuse" (printf "terminationGracePeriodSeconds is %d, but a stopping pod needs %d: %d (preStopSleepSeconds) + %d (settings.drainTimeoutS) + %d (closing and flushing).\nKubernetes would kill it with requests still inside. Set terminationGracePeriodSeconds to at least %d, or shorten one of the others." $grace $needed (int .Values.preStopSleepSeconds) $drain $flush $needed) -}}
{{- end -}}
{{- end -}}

{{- define "rcnn.checkDeadline" -}}
{{- $drain := include "rcnn.drainSeconds" . | int -}}
{{- $longest := divf (hasKey .Values.settings "defaultTimeoutMs" | ternary .Values.settings.defaultTimeoutMs 10000) 1000 | ceil | int -}}
{{- if lt $drain $longest -}}
{{- include "rcnn.refuse" (printf "settings.drainTimeoutS is %d, but a request may take %d seconds (settings.defaultTimeoutMs).\nA stopping pod would leave accepted requests unanswered. Set settings.drainTimeoutS to at least %d, or shorten settings.defaultTimeoutMs." $drain $longest $longest) -}}
{{- end -}}
{{- with .Values.settings -}}
{{- $places := .maxInFlight | default 64 | int -}}
{{- $images := .maxImagesPerRequest | default 16 | int -}}
{{- if lt $places $images -}}
{{- include "rcnn.refuse" (printf "settings.maxInFlight is %d, but one request may bring %d images (settings.maxImagesPerRequest) and could then never be admitted.\nRaise settings.maxInFlight to at least %d, or allow fewer images a request." $places $images $images) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "rcnn.checkModel" -}}
{{- with .Values.model -}}
{{- if and (eq .source "baked") .bundles -}}
{{- include "rcnn.refuse" "model.bundles names bundles, but model.source is \"baked\": those in the image are served.\nSet model.source to claim, fetch or image and say there where the bundles are, or leave model.bundles empty." -}}
{{- end -}}
{{- if and (ne .source "baked") (not .bundles) -}}
{{- include "rcnn.refuse" (printf "model.source is %q, but model.bundles is empty.\nName the bundles to serve, relative to the root of that source, for example: --set 'model.bundles={maskrcnn-r50/3}'" .source) -}}
{{- end -}}
{{- if and (eq .source "fetch") $.Values.networkPolicy.enabled (not $.Values.networkPolicy.egress) -}}
{{- include "rcnn.refuse" "model.source is \"fetch\", but networkPolicy.egress is empty: the pods may not reach the store.\nAllow the store there (and DNS, port 53), or set networkPolicy.enabled to false." -}}
{{- end -}}
{{- $path := trimSuffix "/" .mountPath -}}
{{- if or (has $path (list "" "/tmp" "/app" "/opt" "/usr")) (hasPrefix "/var/cache/rcnn" $path) (hasPrefix "/opt/rcnn" $path) -}}
{{- include "rcnn.refuse" (printf "model.mountPath is %q, which would hide a folder that the service needs. Choose another, for example /models." .mountPath) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Mi of a quantity in Mi or Gi; nothing for other forms. */}}
{{- define "rcnn.mebibytes" -}}
{{- $quantity := toString . -}}
{{- if regexMatch "^[0-9]+Mi$" $quantity }}{{ trimSuffix "Mi" $quantity }}{{ end -}}
{{- if regexMatch "^[0-9]+Gi$" $quantity }}{{ mul (trimSuffix "Gi" $quantity | int) 1024 }}{{ end -}}
{{- end -}}

{{- define "rcnn.checkMemory" -}}
{{- $limit := dig "limits" "memory" "" .Values.resources | include "rcnn.mebibytes" -}}
{{- $tmp := include "rcnn.mebibytes" .Values.tmpSizeLimit -}}
{{- $cache := .Values.settings.responseCacheMb | default 0 | ceil | int -}}
{{- $bodies := .Values.settings.bodyMemoryMb | default 400 | ceil | int -}}
{{- $images := .Values.settings.decodeMemoryMb | default 600 | ceil | int -}}
{{- if and $limit $tmp -}}
{{- $left := sub (int $limit) (add (int $tmp) $cache $bodies $images) | int -}}
{{- if lt $left 512 -}}
{{- include "rcnn.refuse" (printf "resources.limits.memory is %sMi, of which tmpSizeLimit takes %sMi and settings.responseCacheMb %d, bodyMemoryMb %d and decodeMemoryMb %d: %dMi are left, and a model with its engine needs 512 at least.\nRaise resources.limits.memory, or lower one of the others." $limit $tmp $cache $bodies $images $left) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "rcnn.checkEngine" -}}
{{- $engine := .Values.settings.engine | default "auto" -}}
{{- if and (eq $engine "tensorrt") (eq .Values.gpu.kind "none") -}}
{{- include "rcnn.refuse" "settings.engine is \"tensorrt\", but the pods ask for no GPU. Set gpu.kind to plugin or dra, or settings.engine to auto." -}}
{{- end -}}
{{- if and (eq $engine "openvino") (ne .Values.gpu.kind "none") -}}
{{- include "rcnn.refuse" (printf "settings.engine is \"openvino\", which runs on the CPU, but the pods ask for a GPU (gpu.kind is %q), which would stand idle.\nSet settings.engine to auto, onnx or tensorrt, or gpu.kind to none." .Values.gpu.kind) -}}
{{- end -}}
{{- if hasKey (.Values.resources.limits | default dict) .Values.gpu.resourceName -}}
{{- include "rcnn.refuse" (printf "resources.limits names %s. Say gpu.kind: plugin and gpu.count instead: they bring the toleration and the image for GPUs as well." .Values.gpu.resourceName) -}}
{{- end -}}
{{- end -}}

{{- define "rcnn.checkCluster" -}}
{{- $version := .Capabilities.KubeVersion.Version -}}
{{- if and (eq .Values.gpu.kind "dra") (semverCompare "<1.34-0" $version) -}}
{{- include "rcnn.refuse" (printf "gpu.kind is \"dra\", which needs Kubernetes 1.34 (resource.k8s.io/v1); this cluster is %s. Set gpu.kind to plugin." $version) -}}
{{- end -}}
{{- if and (eq .Values.model.source "image") (semverCompare "<1.33-0" $version) -}}
{{- include "rcnn.refuse" (printf "model.source is \"image\", which needs image volumes (Kubernetes 1.33, on by default from 1.35); this cluster is %s.\nSet model.source to fetch or claim." $version) -}}
{{- end -}}
{{- end -}}

{{- define "rcnn.checkScaling" -}}
{{- with .Values.autoscaling -}}
{{- if and (ne .kind "none") (gt (int .minReplicas) (int .maxReplicas)) -}}
{{- include "rcnn.refuse" (printf "autoscaling.minReplicas is %d and autoscaling.maxReplicas %d: the least must not exceed the most." (int .minReplicas) (int .maxReplicas)) -}}
{{- end -}}
{{- if and (ne .kind "none") .cpuUtilizationPercent (not (dig "requests" "cpu" "" $.Values.resources)) -}}
{{- include "rcnn.refuse" "autoscaling.cpuUtilizationPercent is a share of resources.requests.cpu, which is not set. Set it, or take the percentage out." -}}
{{- end -}}
{{- end -}}
{{- with .Values.rollout -}}
{{- if and (has (toString .maxSurge) (list "0" "0%")) (has (toString .maxUnavailable) (list "0" "0%")) -}}
{{- include "rcnn.refuse" "rollout.maxSurge and rollout.maxUnavailable are both 0: no pod could ever be replaced.\nSet maxSurge to 1 where there is room for one more pod, or maxUnavailable to 1 where there is not." -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "rcnn.checkCanary" -}}
{{- with .Values.canary -}}
{{- if and (ne .engine "none") (not .judge.url) (not .judge.prometheusUrl) -}}
{{- include "rcnn.refuse" (printf "canary.engine is %q, but canary.judge.url and canary.judge.prometheusUrl are empty: nobody would say whether a release is good.\nSet canary.judge.prometheusUrl to the Prometheus that scrapes the pods, for a judge of this release's own, or canary.judge.url to the URL of another." .engine) -}}
{{- end -}}
{{- range $index, $weight := rest .weights -}}
{{- if le (int $weight) (index $.Values.canary.weights $index | int) -}}
{{- include "rcnn.refuse" (printf "canary.weights is %s: each weight must be more than the one before." (toJson $.Values.canary.weights)) -}}
{{- end -}}
{{- end -}}
{{- if and .trafficRouting (ne .engine "argo") -}}
{{- include "rcnn.refuse" (printf "canary.trafficRouting is Argo Rollouts' own, but canary.engine is %q. Set canary.engine to argo, or leave it empty." .engine) -}}
{{- end -}}
{{- if and (eq .engine "flagger") (ne (int $.Values.service.grpcPort) 8001) -}}
{{- include "rcnn.refuse" (printf "service.grpcPort is %d, but Flagger makes the Service and takes the pods' own port for it. Leave it at 8001." (int $.Values.service.grpcPort)) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "rcnn.checkGateway" -}}
{{- with .Values.gateway -}}
{{- if and (or .http.enabled .grpc.enabled) (not .parentRefs) -}}
{{- include "rcnn.refuse" "gateway.http or gateway.grpc is enabled, but gateway.parentRefs names no Gateway. For example: --set gateway.parentRefs[0].name=public" -}}
{{- end -}}
{{- if and .http.enabled .grpc.enabled -}}
{{- range .http.hostnames -}}
{{- if has . $.Values.gateway.grpc.hostnames -}}
{{- include "rcnn.refuse" (printf "gateway.http and gateway.grpc both claim %q: a Gateway refuses an HTTPRoute and a GRPCRoute with one host name.\nGive gRPC a name of its own, for example grpc.%s." . .) -}}
{{- end -}}
{{- end -}}
{{- if not (and .http.hostnames .grpc.hostnames) -}}
{{- include "rcnn.refuse" "gateway.http and gateway.grpc are both enabled: each needs hostnames, and not the same, or a Gateway refuses one of the two routes." -}}
{{- end -}}
{{- end -}}
{{- if and .canary.service (ne $.Values.canary.engine "none") -}}
{{- include "rcnn.refuse" (printf "gateway.canary.service splits traffic by hand, but canary.engine is %q, which sets the weights itself. Choose one of the two." $.Values.canary.engine) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "rcnn.checkMetrics" -}}
{{- if and (eq .Values.metrics.monitor "service") (ne .Values.canary.engine "none") -}}
{{- include "rcnn.refuse" (printf "metrics.monitor is \"service\", but with canary.engine %q several Services stand before the same pods: they would be counted twice.\nSet metrics.monitor to pod." .Values.canary.engine) -}}
{{- end -}}
{{- end -}}

{{- define "rcnn.checkTls" -}}
{{- with .Values.tls -}}
{{- if and .certManager.enabled (not .secretName) -}}
{{- include "rcnn.refuse" "tls.certManager is enabled, but tls.secretName is empty: say which Secret it should fill." -}}
{{- end -}}
{{- if and .certManager.enabled (not .certManager.issuerRef.name) -}}
{{- include "rcnn.refuse" "tls.certManager is enabled, but tls.certManager.issuerRef.name is empty: say who signs." -}}
{{- end -}}
{{- if and .clientCaSecretName (not .secretName) -}}
{{- include "rcnn.refuse" "tls.clientCaSecretName is set, but tls.secretName is not: clients show certificates only to servers that do. Set both." -}}
{{- end -}}
{{- end -}}
{{- $theirs := list -}}
{{- range $key := list "apiKeys" "tlsCertificate" "tlsKey" "tlsClientCa" -}}
{{- if and (hasKey $.Values.settings $key) (or $.Values.tls.secretName $.Values.apiKeys.secretName) -}}{{- $theirs = append $theirs $key -}}{{- end -}}
{{- end -}}
{{- if $theirs -}}
{{- include "rcnn.refuse" (printf "settings.%s is set beside apiKeys or tls, which set it themselves. Take it out of settings." (first $theirs)) -}}
{{- end -}}
{{- end -}}
