{{- define "pushcluster.name" -}}
{{ .Chart.Name | trunc 40 | trimSuffix "-" }}
{{- end }}

{{/* A release that is called like the chart gives its objects that name alone. */}}
{{- define "pushcluster.fullname" -}}
{{- if contains .Chart.Name .Release.Name -}}
{{ .Release.Name | trunc 40 | trimSuffix "-" }}
{{- else -}}
{{ printf "%s-%s" .Release.Name .Chart.Name | trunc 40 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "pushcluster.selector" -}}
app.kubernetes.io/name: pushcluster-operator
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "pushcluster.labels" -}}
{{ include "pushcluster.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: pushcluster
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | quote }}
{{- end }}

{{- define "pushcluster.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{ .Values.serviceAccount.name | default (include "pushcluster.fullname" .) }}
{{- else -}}
{{ .Values.serviceAccount.name | default "default" }}
{{- end }}
{{- end }}

{{- define "pushcluster.image" -}}
{{- if .Values.image.digest -}}
{{ printf "%s@%s" .Values.image.repository .Values.image.digest }}
{{- else -}}
{{ printf "%s:%s" .Values.image.repository (.Values.image.tag | default .Chart.AppVersion) }}
{{- end }}
{{- end }}

{{- define "pushcluster.testImage" -}}
{{ .Values.test.image | default .Values.gatewayImage | default (printf "ghcr.io/pushcluster/gateway:%s" .Chart.AppVersion) }}
{{- end }}

{{/* What no container here needs more of. */}}
{{- define "pushcluster.containerSecurity" -}}
allowPrivilegeEscalation: false
capabilities: {drop: [ALL]}
readOnlyRootFilesystem: true
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
seccompProfile: {type: RuntimeDefault}
{{- end }}
