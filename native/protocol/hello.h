// The greeting (docs/WIRE_PROTOCOL.md, "Handshake"): what a dialer says first and what a listener answers
// have one layout. This file owns its offsets and judges it by itself; who may enter is for the session to
// say. Pure functions.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "native/protocol/frame.h"

namespace splitplane {

inline constexpr uint16_t kProtocolVersion = 1;
inline constexpr uint32_t kFeatures = 0;  // what this side can beyond the version

// How a session is named on the wire: chosen by the listener, random, known to both sides only. All zero is
// none.
using WireSessionId = std::array<uint8_t, 16>;
using Secret = std::array<uint8_t, kSecretBytes>;

// After the head of the frame. The two versions keep their places in every version to come.
inline constexpr size_t kHelloVersionMinAt = 16;  // u16; a welcome names the chosen version twice
inline constexpr size_t kHelloVersionMaxAt = 18;  // u16
inline constexpr size_t kHelloFeaturesAt = 20;  // u32: none is defined; a welcome keeps those both sides have
inline constexpr size_t kHelloMessageBytesAt = 24;  // u32: longest message that will be taken
inline constexpr size_t kHelloWindowMessagesAt = 28;
inline constexpr size_t kHelloWindowBytesAt = 32;
inline constexpr size_t kHelloEpochAt =
    36;  // u32: of a welcome, which connection of the session this is; of a hello, zero
inline constexpr size_t kHelloNodeAt = 40;     // 16 bytes
inline constexpr size_t kHelloSessionAt = 56;  // 16 bytes: to resume, or zero; of a welcome, the session
inline constexpr size_t kHelloSecretAt = 72;   // 16 bytes: the listener's; of a hello, zero
inline constexpr size_t kHelloIdentityLengthAt = 88;     // u8
inline constexpr size_t kHelloEncodingsAt = 89;          // u8: their number; of a welcome 1
inline constexpr size_t kHelloCredentialsLengthAt = 90;  // u16
inline constexpr size_t kHelloReservedAt = 92;           // 4 bytes
static_assert(kHelloReservedAt + 4 == kHelloBytesMin);
// Then identity, credentials, and each encoding as a length byte and its name.
inline constexpr size_t kHelloBytesMax =
    kHelloBytesMin + kIdentityBytesMax + kCredentialsBytesMax + kEncodingsMax * (1 + kEncodingNameBytesMax);

struct Hello {
  uint16_t version_min = kProtocolVersion;
  uint16_t version_max = kProtocolVersion;
  uint32_t features = 0;
  uint32_t message_bytes_max = 0;
  uint32_t window_messages = 0;
  uint32_t window_bytes = 0;
  uint32_t epoch = 0;
  NodeId node_id{};
  WireSessionId session{};
  Secret secret{};
  std::string identity;
  std::vector<uint8_t> credentials;
  std::vector<std::string> encodings;
};

// Sealed, whole. The fields are within their limits.
std::vector<uint8_t> EncodeHello(FrameType type, const Hello& hello, uint64_t acknowledged);

// kVersionUnsupported when both sides have no version in common, else kProtocolViolation, with a sentence.
Status DecodeHello(const Frame& frame, Hello& out);

// The first of `wanted` that is in `known`, or an empty name.
std::string ChooseEncoding(const std::vector<std::string>& wanted, const std::vector<std::string>& known);

}  // namespace splitplane
