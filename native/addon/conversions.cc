// The conversions of conversions.h: field by field, so that a reader finds every name that JavaScript sees.
#include "native/addon/conversions.h"

#include <algorithm>

#include "native/addon/napi_util.h"

namespace splitplane::addon {
namespace {

Napi::Value Copy(Napi::Env env, ConstBytes bytes) {
  return Napi::Buffer<uint8_t>::Copy(env, bytes.data(), bytes.size());
}

ConstBytes BytesOf(const Napi::Value& value) {
  auto bytes = value.As<Napi::Uint8Array>();
  return {bytes.Data(), bytes.ByteLength()};
}

void SetEndpoint(Napi::Object object, const EndpointInfo& endpoint) {
  object.Set("localAddress", endpoint.local_address);
  object.Set("remoteAddress", endpoint.remote_address);
  object.Set("localOnly", endpoint.local_only);
  if (endpoint.peer_uid >= 0) object.Set("uid", double(endpoint.peer_uid));
}

// What failed and how, for people; the operation it failed in is for those who read a log.
std::string SentenceOf(const Status& status) {
  return status.detail().empty() ? status.ToString() : std::string(status.detail());
}

Napi::Array ToArray(Napi::Env env, const std::vector<PassedOver>& passed_over) {
  Napi::Array list = Napi::Array::New(env, passed_over.size());
  for (uint32_t i = 0; i < passed_over.size(); i++) {
    const auto& [transport, why] = passed_over[i];
    Napi::Object object = Napi::Object::New(env);
    object.Set("transport", transport);
    object.Set("code", std::string(CodeName(why.code())));
    object.Set("reason", SentenceOf(why));
    list.Set(i, object);
  }
  return list;
}

}  // namespace

Code CodeFromIndex(uint32_t index) { return index < uint32_t(Code::kCount) ? Code(index) : Code::kSystem; }

EngineOptions EngineOptionsFrom(const Napi::Object& from) {
  EngineOptions options;
  ConstBytes node_id = BytesOf(Property(from, "nodeId"));
  std::copy_n(node_id.data(), std::min(node_id.size(), options.node_id.size()), options.node_id.data());
  options.identity = StringOption(from, "identity");
  ConstBytes credentials = BytesOf(Property(from, "credentials"));
  options.credentials.assign(credentials.begin(), credentials.end());
  options.encodings = StringsOf(Property(from, "encodings"));
  options.pool.bytes_max = uint64_t(NumberOption(from, "memoryBytesMax"));
  options.tags_max = size_t(NumberOption(from, "tagsMax"));
  options.sessions_max = UnsignedOption(from, "connectionsMax");
  options.message_bytes_max = UnsignedOption(from, "messageBytesMax");
  options.window_messages = UnsignedOption(from, "windowMessages");
  options.window_bytes = UnsignedOption(from, "windowBytes");
  options.keepalive_ms = UnsignedOption(from, "keepaliveMs");
  options.peer_timeout_ms = UnsignedOption(from, "peerTimeoutMs");
  options.connect_timeout_ms = UnsignedOption(from, "connectTimeoutMs");
  options.resume_ms = UnsignedOption(from, "resumeMs");
  return options;
}

Napi::Object ToObject(Napi::Env env, const PeerHello& hello) {
  Napi::Object object = Napi::Object::New(env);
  object.Set("dialed", hello.dialed);
  object.Set("listener", hello.listener);
  object.Set("nodeId", Copy(env, hello.node_id));
  object.Set("identity", hello.identity);
  object.Set("credentials", Copy(env, hello.credentials));
  object.Set("encoding", hello.encoding);
  object.Set("transport", hello.transport);
  SetEndpoint(object, hello.endpoint);
  return object;
}

Napi::Object ToObject(Napi::Env env, const SessionInfo& info) {
  Napi::Object object = Napi::Object::New(env);
  object.Set("transport", info.transport);
  object.Set("nodeId", Copy(env, info.peer_node));
  object.Set("identity", info.peer_identity);
  object.Set("principal", info.principal);
  object.Set("encoding", info.encoding);
  object.Set("passedOver", ToArray(env, info.passed_over));
  object.Set("resumed", info.resumed);
  object.Set("failedOver", info.failed_over);
  object.Set("messagesSent", double(info.messages_sent));
  object.Set("messagesReceived", double(info.messages_received));
  object.Set("messagesRepeated", double(info.messages_repeated));
  object.Set("messagesQueued", info.messages_queued);
  object.Set("messagesUnacknowledged", info.messages_unacknowledged);
  object.Set("operationsOutstanding", info.operations_outstanding);
  object.Set("messageBytesMax", info.message_bytes_max);
  SetEndpoint(object, info.endpoint);
  return object;
}

Napi::Object ToObject(Napi::Env env, const TransportStats& stats) {
  Napi::Object object = Napi::Object::New(env);
  object.Set("bytesSent", double(stats.bytes_sent));
  object.Set("bytesReceived", double(stats.bytes_received));
  object.Set("bytesCopied", double(stats.bytes_copied));
  object.Set("framesSent", double(stats.frames_sent));
  object.Set("framesReceived", double(stats.frames_received));
  object.Set("operationsServed", double(stats.operations_served));
  object.Set("operationsRefused", double(stats.operations_refused));
  object.Set("registrations", double(stats.registrations));
  return object;
}

Napi::Object ToObject(Napi::Env env, const Capabilities& capabilities) {
  Napi::Object object = Napi::Object::New(env);
  object.Set("remoteRead", capabilities.remote_read);
  object.Set("remoteWrite", capabilities.remote_write);
  object.Set("writeNotification", capabilities.write_notification);
  object.Set("remoteAtomics", capabilities.remote_atomics);
  object.Set("frameBytesMax", capabilities.send_bytes_max);
  object.Set("operationsMax", capabilities.operations_max);
  return object;
}

Napi::Array ToArray(Napi::Env env, const std::vector<TransportFact>& facts) {
  Napi::Array list = Napi::Array::New(env, facts.size());
  for (uint32_t i = 0; i < facts.size(); i++) {
    Napi::Object fact = Napi::Object::New(env);
    fact.Set("name", facts[i].name);
    fact.Set("text", facts[i].text);
    list.Set(i, fact);
  }
  return list;
}

Napi::Object ToObject(Napi::Env env, const PoolStats& stats) {
  Napi::Object object = Napi::Object::New(env);
  object.Set("slabs", double(stats.slab_count));
  object.Set("slabBytes", double(stats.slab_bytes));
  object.Set("buffers", double(stats.buffer_count));
  object.Set("bufferBytes", double(stats.buffer_bytes));
  object.Set("allocations", double(stats.allocation_count));
  return object;
}

Napi::Object ToObject(Napi::Env env, const TagStats& stats) {
  Napi::Object object = Napi::Object::New(env);
  object.Set("live", double(stats.live));
  object.Set("exported", double(stats.exported));
  object.Set("refusedUnknown", double(stats.refused_unknown));
  object.Set("refusedForeign", double(stats.refused_foreign));
  object.Set("refusedExpired", double(stats.refused_expired));
  object.Set("refusedExhausted", double(stats.refused_exhausted));
  object.Set("refusedDirection", double(stats.refused_direction));
  object.Set("refusedBounds", double(stats.refused_bounds));
  return object;
}

}  // namespace splitplane::addon
