{{/*
CIM beside an application. In the pod specification of a chart:

      initContainers:
        {{- include "cim.nativeContainer" . | nindent 8 }}
      containers: …
      volumes:
        {{- include "cim.volumes" . | nindent 8 }}

or, for clusters older than 1.29, "cim.container" among the containers. Settings: `cim:` in the values of the chart.
The container is the one that `cim manifest` makes.
*/}}

{{/* A native sidecar: an item of initContainers, the first one. */}}
{{- define "cim.nativeContainer" -}}
{{ include "cim.standing" (dict "Values" .Values "mode" "native") }}
  restartPolicy: Always
{{- end }}

{{/* A classic sidecar: an item of containers. */}}
{{- define "cim.container" -}}
{{ include "cim.standing" (dict "Values" .Values "mode" "classic") }}
{{- end }}

{{/* The container as it stands in either place. */}}
{{- define "cim.standing" -}}
{{- $cim := .Values.cim | default dict -}}
- name: cim
  image: {{ $cim.image | default "cim:0.1.0" | quote }}
  {{- with $cim.imagePullPolicy }}
  imagePullPolicy: {{ . }}
  {{- end }}
  args: [run]
  env:
  - name: K8S_NAMESPACE
    valueFrom:
      fieldRef:
        fieldPath: metadata.namespace
  - name: K8S_POD_ID
    valueFrom:
      fieldRef:
        fieldPath: metadata.name
  - name: CIM__IDENTITY__UID
    valueFrom:
      fieldRef:
        fieldPath: metadata.uid
  - name: CIM__IDENTITY__NODE
    valueFrom:
      fieldRef:
        fieldPath: spec.nodeName
  - name: CIM__SPOOL__DIR
    value: /var/lib/cim
  - name: CIM__SPOOL__EPHEMERAL
    value: {{ or (not $cim.spoolVolume) (hasKey ($cim.spoolVolume | default dict) "emptyDir") | quote }}
  - name: CIM__HEALTH__LISTEN
    value: 0.0.0.0:6061
  - name: CIM__LIFECYCLE__MODE
    value: {{ .mode }}
  {{- if $cim.configMap }}
  - name: CIM_CONFIG
    value: /etc/cim/cim.toml
  {{- end }}
  {{- with $cim.env }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
  ports:
  - name: cim-health
    containerPort: 6061
  startupProbe:
    httpGet:
      path: /readyz
      port: cim-health
    periodSeconds: 1
    failureThreshold: 60
  readinessProbe:
    httpGet:
      path: /readyz
      port: cim-health
    periodSeconds: 10
  livenessProbe:
    httpGet:
      path: /livez
      port: cim-health
    periodSeconds: 10
    timeoutSeconds: 5
  resources:
    {{- if $cim.resources }}
    {{- toYaml $cim.resources | nindent 4 }}
    {{- else }}
    requests:
      cpu: 50m
      memory: 64Mi
    limits:
      memory: 128Mi
    {{- end }}
  securityContext:
    runAsNonRoot: true
    runAsUser: 65534
    runAsGroup: 65534
    readOnlyRootFilesystem: true
    allowPrivilegeEscalation: false
    capabilities:
      drop: [ALL]
    seccompProfile:
      type: RuntimeDefault
  volumeMounts:
  - name: cim-spool
    mountPath: /var/lib/cim
  {{- if $cim.configMap }}
  - name: cim-config
    mountPath: /etc/cim
    readOnly: true
  {{- end }}
{{- end }}

{{/* Items of volumes. */}}
{{- define "cim.volumes" -}}
{{- $cim := .Values.cim | default dict -}}
- name: cim-spool
  {{- if $cim.spoolVolume }}
  {{- toYaml $cim.spoolVolume | nindent 2 }}
  {{- else }}
  emptyDir:
    sizeLimit: {{ $cim.spoolSize | default "2Gi" }}
  {{- end }}
{{- with $cim.configMap }}
- name: cim-config
  configMap:
    name: {{ . }}
{{- end }}
{{- end }}
