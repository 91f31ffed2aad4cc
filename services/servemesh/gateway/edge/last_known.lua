-- Answers Envoy's own ADS stream from the file in which the gateway keeps its last tables. Envoy asks here only
-- while it has not reached a gateway since it started: a restarted Envoy goes on with what the last one did.
--
-- The file holds the tables as gRPC frames. What Envoy answers itself is over at once, and Envoy drops what
-- comes after the first table to which it has something to reply; so each stream gets one table, in turn.

local FRAME_BYTES = 5
local turn = 0

local function frames_of(bytes)
  local frames, at = {}, 1
  while at + FRAME_BYTES <= #bytes do
    local a, b, c, d = bytes:byte(at + 1, at + 4)
    local length = FRAME_BYTES + ((a * 256 + b) * 256 + c) * 256 + d
    frames[#frames + 1] = bytes:sub(at, at + length - 1)
    at = at + length
  end
  return frames
end

function envoy_on_request(handle)
  local file = io.open(handle:filterContext():get("path"), "rb")
  if not file then return end
  local frames = frames_of(file:read("*a"))
  file:close()
  if #frames == 0 then return end
  turn = turn % #frames + 1
  handle:respond({[":status"] = "200", ["content-type"] = "application/grpc"}, frames[turn])
end
