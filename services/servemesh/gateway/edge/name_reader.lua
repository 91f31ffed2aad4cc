-- Reads the name of the model off a unary ModelInfer call and chooses the workers that may answer it.
-- Runs in LuaJIT inside Envoy. Names that it cannot be sure of are left to the gateway service, whose
-- endpoints are the default subset: no metadata set here means "ask the activator".

local MODEL_HEADER = "x-servemesh-model"
local VERSION_HEADER = "x-servemesh-version"
local SLOT_HEADER = "x-servemesh-slot"
local CUT = "/cut"

local INVALID_ARGUMENT, UNIMPLEMENTED = "3", "12"

local TIMEOUT_HEADER = "grpc-timeout"
local TIMEOUT_MARGIN_MS = 100

local FRAME_BYTES = 5
local NAME_BYTES_MAX = 64
local FIELDS_MAX = 256 -- fields at the top level; a message with more is left to the gateway

local TWO_TO_THE_32 = 4294967296

-- Returns the varint at `at` and where it ends, or nil if it is cut off or longer than ten bytes. Values
-- from 2^53 on lose their last digits, which no length or tag that matters here reaches.
local function varint(bytes, at)
  local value, scale = 0, 1
  for index = at, at + 9 do
    local byte = bytes:byte(index)
    if not byte then return nil end
    if byte < 128 then return value + byte * scale, index + 1 end
    value = value + (byte - 128) * scale
    scale = scale * 128
  end
  return nil
end

-- Returns where the field of this wire type ends, or nil if it cannot be skipped.
local function skipped(bytes, at, wire_type)
  if wire_type == 0 then
    local _, after = varint(bytes, at)
    return after
  elseif wire_type == 1 then
    return at + 8
  elseif wire_type == 2 then
    local length, start = varint(bytes, at)
    return length and start + length
  elseif wire_type == 5 then
    return at + 4
  end
  return nil -- groups and unknown types
end

-- Returns model_name (field 1) and model_version (field 2) of an inference.ModelInferRequest, read as protobuf
-- reads it: the last of several wins, unknown fields are skipped. Returns nil for whatever is not well formed.
-- `reader` gives the bytes: reader(first, length).
function read_names(reader, size)
  local name, version = "", ""
  local offset, fields = 0, 0
  while offset < size do
    fields = fields + 1
    if fields > FIELDS_MAX then return nil end
    local head = reader(offset, math.min(20, size - offset)) -- a tag and a length at their longest
    local tag, at = varint(head, 1)
    if not tag or tag >= TWO_TO_THE_32 then return nil end
    local number, wire_type = math.floor(tag / 8), tag % 8
    if number == 0 then return nil end
    local after = skipped(head, at, wire_type)
    if not after or offset + after - 1 > size then return nil end
    if wire_type == 2 and (number == 1 or number == 2) then
      local length, start = varint(head, at)
      if length > NAME_BYTES_MAX then return nil end
      local text = length == 0 and "" or reader(offset + start - 1, length)
      if number == 1 then name = text else version = text end
    end
    offset = offset + after - 1
  end
  return name, version
end

-- Whether a text is safe in a header and in a slot's name: what model ids, version ids and aliases are made of.
local function is_plain(text)
  return text:find("^[a-z0-9_-]*$") ~= nil
end

-- Returns the slot that a call without version goes to if the calls for the model are shared, else nil.
local function drawn_slot(handle, name)
  local shares = handle:filterContext():get(name)
  if not shares then return nil end
  local draw = math.random() * 100
  for index, up_to in ipairs(shares.up_to_percent) do
    if draw < up_to then return shares.slots[index] end
  end
  return shares.slots[#shares.slots]
end

local function refuse(handle, status, text)
  handle:respond({[":status"] = "200", ["content-type"] = "application/grpc", ["grpc-status"] = status}, text)
end

-- A server would answer it bare, as one that is broken does, and after some of these nobody would be sent to it.
local function refuse_broken(handle)
  refuse(handle, INVALID_ARGUMENT, "a unary call carries one whole message: its length and its bytes differ")
end

-- Lets the worker see a deadline somewhat later than the one at which Envoy ends the call: a worker that ends late
-- calls itself looks as if it failed them. Envoy has written the time that is left, in milliseconds.
local function move_deadline(headers)
  local left = (headers:get(TIMEOUT_HEADER) or ""):match("^(%d+)m$")
  if left then headers:replace(TIMEOUT_HEADER, string.format("%dm", left + TIMEOUT_MARGIN_MS)) end
end

function envoy_on_request(handle)
  move_deadline(handle:headers())
  local body = handle:body(true)
  local size = body and body:length() or 0
  if size < FRAME_BYTES then return refuse_broken(handle) end
  local frame = body:getBytes(0, FRAME_BYTES)
  local compressed, a, b, c, d = frame:byte(1, FRAME_BYTES)
  local length = ((a * 256 + b) * 256 + c) * 256 + d
  if length ~= size - FRAME_BYTES then return refuse_broken(handle) end
  if compressed ~= 0 then
    return refuse(handle, UNIMPLEMENTED, "compressed messages are not taken here: send them uncompressed")
  end
  local name, version = read_names(function(first, count)
    return body:getBytes(FRAME_BYTES + first, count)
  end, length)
  if not name or name == "" or not is_plain(name) or not is_plain(version) then return end
  local headers = handle:headers()
  headers:add(MODEL_HEADER, name)
  -- Where the workers are cut into several clusters, the name is what the cluster is chosen by.
  if handle:filterContext():get(CUT) then handle:clearRouteCache() end
  local chosen = handle:streamInfo():dynamicMetadata()
  if version ~= "" then
    headers:add(VERSION_HEADER, version)
    chosen:set("envoy.lb", "slot", name .. "/" .. version)
    return
  end
  local slot = drawn_slot(handle, name)
  if slot then
    headers:add(SLOT_HEADER, slot)
    chosen:set("envoy.lb", "slot", slot)
  else
    chosen:set("envoy.lb", "model", name)
  end
end
