// What an operation came to: a code from the project's one list of error codes, the operation that failed,
// its errno and a sentence for people. The list is mirrored by lib/errors.ts and a test holds the two
// together. Knows nothing of what failed. Free of allocation unless something went wrong.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace splitplane {

// name in C++, name that users match on. Order is part of the wire protocol (a status travels as its index),
// so new codes go to the end.
#define SPLITPLANE_ERROR_CODES(X)                   \
  X(kOk, "OK")                                      \
  X(kNoResource, "NO_RESOURCE")                     \
  X(kInvalidArgument, "INVALID_ARGUMENT")           \
  X(kOutOfMemory, "OUT_OF_MEMORY")                  \
  X(kQuotaExceeded, "QUOTA_EXCEEDED")               \
  X(kLimitExceeded, "LIMIT_EXCEEDED")               \
  X(kRegionBusy, "REGION_BUSY")                     \
  X(kRegionReleased, "REGION_RELEASED")             \
  X(kRegionDetached, "REGION_DETACHED")             \
  X(kTagUnknown, "TAG_UNKNOWN")                     \
  X(kTagExpired, "TAG_EXPIRED")                     \
  X(kTagExhausted, "TAG_EXHAUSTED")                 \
  X(kTagDirection, "TAG_DIRECTION")                 \
  X(kTagBounds, "TAG_BOUNDS")                       \
  X(kTagRevoked, "TAG_REVOKED")                     \
  X(kChecksumMismatch, "CHECKSUM_MISMATCH")         \
  X(kProtocolViolation, "PROTOCOL_VIOLATION")       \
  X(kVersionUnsupported, "VERSION_UNSUPPORTED")     \
  X(kEncodingUnsupported, "ENCODING_UNSUPPORTED")   \
  X(kIdentityMismatch, "IDENTITY_MISMATCH")         \
  X(kAuthenticationFailed, "AUTHENTICATION_FAILED") \
  X(kPermissionDenied, "PERMISSION_DENIED")         \
  X(kInsecureTransport, "INSECURE_TRANSPORT")       \
  X(kAddressInvalid, "ADDRESS_INVALID")             \
  X(kAddressInUse, "ADDRESS_IN_USE")                \
  X(kConnectionRefused, "CONNECTION_REFUSED")       \
  X(kConnectTimeout, "CONNECT_TIMEOUT")             \
  X(kConnectionLost, "CONNECTION_LOST")             \
  X(kPeerUnresponsive, "PEER_UNRESPONSIVE")         \
  X(kSessionExpired, "SESSION_EXPIRED")             \
  X(kAborted, "ABORTED")                            \
  X(kDeadlineExceeded, "DEADLINE_EXCEEDED")         \
  X(kClosed, "CLOSED")                              \
  X(kFileChanged, "FILE_CHANGED")                   \
  X(kTransportUnavailable, "TRANSPORT_UNAVAILABLE") \
  X(kUnsupported, "UNSUPPORTED")                    \
  X(kSystem, "SYSTEM")

enum class Code : uint16_t {
#define X(name, text) name,
  SPLITPLANE_ERROR_CODES(X)
#undef X
      kCount
};

// The name users match on, "UNKNOWN" for a number that is no code (a peer may send any).
[[nodiscard]] std::string_view CodeName(Code code);

// A code that came off the wire; kProtocolViolation stands for every number that is no code.
[[nodiscard]] Code CodeFromWire(uint16_t value);

class [[nodiscard]] Status {
 public:
  Status() = default;  // ok

  // `operation` names what failed in a literal ("connect", "recvmsg"); `detail` is the sentence for people:
  // what was found and what to do.
  static Status Error(Code code, const char* operation, std::string detail, int system_errno = 0);
  // From errno, with the code that errno means for this operation (kSystem when it means nothing special).
  static Status Errno(const char* operation, int system_errno, std::string detail = {});
  // The peer broke a rule that it agreed to; `sentence` is the rule.
  static Status Violation(const char* operation, const char* sentence) {
    return Error(Code::kProtocolViolation, operation, sentence);
  }
  // Back-pressure: nothing is wrong, try again after the next completion. Never allocates.
  static Status NoResource();

  bool ok() const { return code_ == Code::kOk; }
  bool no_resource() const { return code_ == Code::kNoResource; }
  Code code() const { return code_; }
  const char* operation() const { return info_ ? info_->operation : ""; }
  int system_errno() const { return info_ ? info_->system_errno : 0; }
  std::string_view detail() const { return info_ ? std::string_view(info_->detail) : std::string_view(); }
  // "operation: detail (errno text)", for a person.
  std::string ToString() const;

 private:
  struct Info {
    const char* operation;
    int system_errno;
    std::string detail;
  };
  Code code_ = Code::kOk;
  std::shared_ptr<const Info> info_;
};

// A value, or why there is none.
template <typename T>
class [[nodiscard]] Result {
 public:
  Result(T value) : value_(std::move(value)) {}          // NOLINT: implicit by design
  Result(Status status) : status_(std::move(status)) {}  // NOLINT: implicit by design

  bool ok() const { return value_.has_value(); }
  const Status& status() const { return status_; }
  T& value() & { return *value_; }
  const T& value() const& { return *value_; }
  T&& value() && { return std::move(*value_); }
  T* operator->() { return &*value_; }
  T& operator*() { return *value_; }

 private:
  std::optional<T> value_;
  Status status_;
};

}  // namespace splitplane
