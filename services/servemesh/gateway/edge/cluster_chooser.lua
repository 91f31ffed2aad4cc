-- Chooses the cluster of a call by the name of its model, where the workers of a large mesh are cut into several.
-- Envoy asks twice: when the call comes, and when name_reader.lua has read the name.
--
-- A line above these says into how many clusters the workers are cut (CUTS), and into how many they were before: while
-- Envoy still makes the new ones it has the old ones, and where it has neither, the gateway service forwards the call.

local MODEL_HEADER = "x-servemesh-model"
local WORKERS, GATEWAY = "workers", "gateway"

local SHARDS, FACTOR, MODULUS = 128, 131, 8388593 -- as in libs/servemesh/shards.py

function shard_of(name)
  local value = 0
  for index = 1, #name do
    value = (value * FACTOR + name:byte(index)) % MODULUS
  end
  return value % SHARDS
end

function cluster_of(name, count)
  if count == 1 then return WORKERS end
  return string.format("%s-%d-of-%d", WORKERS, shard_of(name) % count, count)
end

function envoy_on_route(handle)
  local name = handle:headers():get(MODEL_HEADER)
  if not name then return GATEWAY end
  for _, count in ipairs(CUTS) do
    local cluster = cluster_of(name, count)
    if handle:getCluster(cluster) then return cluster end
  end
  return GATEWAY
end
