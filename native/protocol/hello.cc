// Encoding and judging of greetings. Lengths are checked against what is left before anything is copied.
#include "native/protocol/hello.h"

#include <algorithm>
#include <cstring>

namespace splitplane {
namespace {

template <size_t N>
void StoreArray(uint8_t* to, const std::array<uint8_t, N>& from) {
  std::memcpy(to, from.data(), N);
}

template <size_t N>
void LoadArray(const uint8_t* from, std::array<uint8_t, N>& to) {
  std::memcpy(to.data(), from, N);
}

bool IsPrintable(ConstBytes text) {
  return std::none_of(text.begin(), text.end(), [](uint8_t byte) { return byte < 0x20 || byte == 0x7f; });
}

// Takes `length` bytes off the front of `rest`; false if there are not as many.
bool Take(ConstBytes& rest, size_t length, ConstBytes& out) {
  if (length > rest.size()) return false;
  out = rest.first(length);
  rest = rest.subspan(length);
  return true;
}

std::string Text(ConstBytes bytes) { return std::string(bytes.begin(), bytes.end()); }

void DecodeFixed(const uint8_t* at, Hello& out) {
  out.features = LoadLittle<uint32_t>(at + kHelloFeaturesAt);
  out.message_bytes_max = LoadLittle<uint32_t>(at + kHelloMessageBytesAt);
  out.window_messages = LoadLittle<uint32_t>(at + kHelloWindowMessagesAt);
  out.window_bytes = LoadLittle<uint32_t>(at + kHelloWindowBytesAt);
  out.epoch = LoadLittle<uint32_t>(at + kHelloEpochAt);
  LoadArray(at + kHelloNodeAt, out.node_id);
  LoadArray(at + kHelloSessionAt, out.session);
  LoadArray(at + kHelloSecretAt, out.secret);
}

Status DecodeLists(const Frame& frame, Hello& out) {
  const uint8_t* at = frame.bytes.data();
  ConstBytes rest = frame.bytes.subspan(kHelloBytesMin);
  ConstBytes identity, credentials;
  const size_t credentials_length = LoadLittle<uint16_t>(at + kHelloCredentialsLengthAt);
  if (credentials_length > kCredentialsBytesMax)
    return Status::Violation("hello", "a greeting has credentials beyond 4096 bytes");
  if (!Take(rest, at[kHelloIdentityLengthAt], identity) || !Take(rest, credentials_length, credentials)) {
    return Status::Violation("hello", "a greeting is shorter than its identity and credentials");
  }
  if (!IsPrintable(identity))
    return Status::Violation("hello", "a greeting has control characters in its identity");
  out.identity = Text(identity);
  out.credentials.assign(credentials.begin(), credentials.end());
  const size_t count = at[kHelloEncodingsAt];
  if (count == 0 || count > kEncodingsMax)
    return Status::Violation("hello", "a greeting names no encoding, or more than 16");
  out.encodings.clear();
  for (size_t i = 0; i < count; i++) {
    ConstBytes length, name;
    if (!Take(rest, 1, length) || !Take(rest, length[0], name)) {
      return Status::Violation("hello", "a greeting is shorter than its list of encodings");
    }
    if (name.empty() || name.size() > kEncodingNameBytesMax || !IsPrintable(name)) {
      return Status::Violation("hello",
                               "a greeting names an encoding with an empty, overlong or unprintable name");
    }
    out.encodings.push_back(Text(name));
  }
  if (!rest.empty()) return Status::Violation("hello", "a greeting is longer than what it says");
  return {};
}

}  // namespace

std::vector<uint8_t> EncodeHello(FrameType type, const Hello& hello, uint64_t acknowledged) {
  std::vector<uint8_t> out;
  out.reserve(kHelloBytesMax);
  out.resize(kHelloBytesMin);
  StoreLittle(out.data() + kHelloVersionMinAt, hello.version_min);
  StoreLittle(out.data() + kHelloVersionMaxAt, hello.version_max);
  StoreLittle(out.data() + kHelloFeaturesAt, hello.features);
  StoreLittle(out.data() + kHelloMessageBytesAt, hello.message_bytes_max);
  StoreLittle(out.data() + kHelloWindowMessagesAt, hello.window_messages);
  StoreLittle(out.data() + kHelloWindowBytesAt, hello.window_bytes);
  StoreLittle(out.data() + kHelloEpochAt, hello.epoch);
  StoreArray(out.data() + kHelloNodeAt, hello.node_id);
  StoreArray(out.data() + kHelloSessionAt, hello.session);
  StoreArray(out.data() + kHelloSecretAt, hello.secret);
  out[kHelloIdentityLengthAt] = uint8_t(hello.identity.size());
  out[kHelloEncodingsAt] = uint8_t(hello.encodings.size());
  StoreLittle(out.data() + kHelloCredentialsLengthAt, uint16_t(hello.credentials.size()));
  out.insert(out.end(), hello.identity.begin(), hello.identity.end());
  out.insert(out.end(), hello.credentials.begin(), hello.credentials.end());
  for (const std::string& encoding : hello.encodings) {
    out.push_back(uint8_t(encoding.size()));
    out.insert(out.end(), encoding.begin(), encoding.end());
  }
  SealFrame(out, type, acknowledged);
  return out;
}

Status DecodeHello(const Frame& frame, Hello& out) {
  const uint8_t* at = frame.bytes.data();
  out.version_min = LoadLittle<uint16_t>(at + kHelloVersionMinAt);
  out.version_max = LoadLittle<uint16_t>(at + kHelloVersionMaxAt);
  if (out.version_min > kProtocolVersion || out.version_max < kProtocolVersion) {
    return Status::Error(Code::kVersionUnsupported, "hello",
                         "the peer speaks versions " + std::to_string(out.version_min) + " to " +
                             std::to_string(out.version_max) + " of the protocol, this side " +
                             std::to_string(kProtocolVersion) + ": update the older one");
  }
  if (LoadLittle<uint32_t>(at + kHelloReservedAt) != 0) {
    return Status::Violation("hello", "a greeting has reserved bytes that are not zero");
  }
  DecodeFixed(at, out);
  if (out.message_bytes_max == 0 || out.window_messages == 0 || out.window_bytes < out.message_bytes_max) {
    return Status::Violation("hello", "a greeting has a limit of zero, or a window smaller than one message");
  }
  const bool welcome = frame.type == FrameType::kWelcome;
  if (welcome && (out.session == WireSessionId{} || at[kHelloEncodingsAt] != 1)) {
    return Status::Violation("hello", "a welcome names no session, or not exactly one encoding");
  }
  if (welcome && (out.features & ~kFeatures) != 0)
    return Status::Violation("hello", "a welcome chose features that were not offered");
  if (!welcome && (out.secret != Secret{} || out.epoch != 0 || frame.acknowledged != 0)) {
    return Status::Violation(
        "hello", "a hello carries a secret, an epoch or an acknowledgement, which only a welcome has");
  }
  return DecodeLists(frame, out);
}

std::string ChooseEncoding(const std::vector<std::string>& wanted, const std::vector<std::string>& known) {
  for (const std::string& encoding : wanted) {
    if (std::find(known.begin(), known.end(), encoding) != known.end()) return encoding;
  }
  return {};
}

}  // namespace splitplane
