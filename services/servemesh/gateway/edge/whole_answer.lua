-- Holds an answer of a worker back until the last of it has come. The edge sends a call again elsewhere for as long as
-- it has passed nothing on: an answer that breaks off in the middle must not have begun.

function envoy_on_response(handle)
  handle:body()
end
