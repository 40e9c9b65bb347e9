{{- define "seaway.name" -}}
{{- if contains .Chart.Name .Release.Name -}}{{ .Release.Name | trunc 52 | trimSuffix "-" }}{{- else -}}{{ printf "%s-%s" .Release.Name .Chart.Name | trunc 52 | trimSuffix "-" }}{{- end -}}
{{- end }}

{{- define "seaway.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "seaway.labels" -}}
{{ include "seaway.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{- define "seaway.isGroup" -}}{{ if eq .Values.mode "group" }}yes{{ end }}{{- end }}

{{- /* Values that contradict each other, said before anything is installed. */ -}}
{{- define "seaway.check" -}}
{{- if and (include "seaway.isGroup" .) (ne .Values.streaming.store "file") -}}
{{- fail "mode group needs streaming.store: file, which its members share" -}}
{{- end -}}
{{- if and (include "seaway.isGroup" .) .Values.streaming.adopt -}}
{{- fail "mode group cannot adopt: take the volume over in mode single first" -}}
{{- end -}}
{{- if and .Values.auth.tokenSecret .Values.auth.configSecret -}}
{{- fail "auth.tokenSecret and auth.configSecret exclude each other" -}}
{{- end -}}
{{- if and .Values.tls.verify (not .Values.tls.secret) -}}
{{- fail "tls.verify needs tls.secret" -}}
{{- end -}}
{{- if and .Values.encryption.keySecret (ne .Values.streaming.store "file") -}}
{{- fail "encryption.keySecret encrypts a store of files; streaming.store is memory" -}}
{{- end -}}
{{- end }}
