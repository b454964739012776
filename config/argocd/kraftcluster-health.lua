-- Argo CD's health of a KRaftCluster: resource.customizations.health.kraft.dev_KRaftCluster in ConfigMap argocd-cm.
local hs = {status = "Progressing", message = "the operator hasn't looked at this generation yet"}
local st = obj.status
if st == nil or st.conditions == nil or st.observedGeneration ~= obj.metadata.generation then
  return hs
end
local conditions = {}
for _, c in ipairs(st.conditions) do
  conditions[c.type] = c
end
local ready, stalled = conditions.Ready, conditions.Stalled
if ready == nil then
  return hs
end
hs.message = ready.reason .. ": " .. ready.message
if ready.status == "True" then
  hs.status = "Healthy"
elseif stalled ~= nil and stalled.status == "True" then
  hs.status = "Degraded"
elseif obj.spec.paused == true then
  hs.status = "Suspended"
end
return hs
