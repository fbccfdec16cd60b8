// Values of the core as plain JavaScript objects, for the cold calls: hellos, statuses, sessions, counters.
#pragma once

#include <napi.h>

#include "native/addon/event_ring.h"
#include "native/protocol/engine.h"

namespace splitplane::addon {

EngineOptions EngineOptionsFrom(const Napi::Object& options);
Napi::Object ToObject(Napi::Env env, const PeerHello& hello);
Napi::Object ToObject(Napi::Env env, const SessionInfo& info);
Napi::Object ToObject(Napi::Env env, const TransportStats& stats);
Napi::Object ToObject(Napi::Env env, const Capabilities& capabilities);
Napi::Array ToArray(Napi::Env env, const std::vector<TransportFact>& facts);
Napi::Object ToObject(Napi::Env env, const PoolStats& stats);
Napi::Object ToObject(Napi::Env env, const TagStats& stats);
// The code named by its index in the list; kSystem for a number that is none.
Code CodeFromIndex(uint32_t index);

}  // namespace splitplane::addon
