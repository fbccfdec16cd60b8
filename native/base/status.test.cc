// Status: what users read and match on, and what may travel over the wire.
#include "native/base/status.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <set>

namespace splitplane {
namespace {

// Goal: users can match on the names. Method: every code has one of its own, in the one form codes have.
TEST(StatusTest, EveryCodeHasItsOwnName) {
  std::set<std::string_view> names;
  for (uint16_t value = 0; value < uint16_t(Code::kCount); value++) {
    const std::string_view name = CodeName(Code(value));
    EXPECT_TRUE(names.insert(name).second) << name;
    EXPECT_EQ(name.find_first_not_of("ABCDEFGHIJKLMNOPQRSTUVWXYZ_"), std::string_view::npos) << name;
  }
  EXPECT_EQ(CodeName(Code::kTagExpired), "TAG_EXPIRED");
  EXPECT_EQ(CodeName(Code(uint16_t(Code::kCount))), "UNKNOWN");
  EXPECT_EQ(CodeName(Code(0xffff)), "UNKNOWN");
}

// Goal: a peer cannot make us hold a code that is none. Method: every number of 16 bits.
TEST(StatusTest, AnyNumberOffTheWireBecomesACode) {
  for (uint32_t value = 0; value <= 0xffff; value++) {
    const Code code = CodeFromWire(uint16_t(value));
    ASSERT_EQ(code, value < uint32_t(Code::kCount) ? Code(value) : Code::kProtocolViolation);
  }
}

// Goal: the text says what failed, what to do and what the kernel said. Method: the parts one after the
// other.
TEST(StatusTest, TextForPeople) {
  EXPECT_EQ(Status().ToString(), "OK");
  EXPECT_EQ(Status::NoResource().ToString(), "NO_RESOURCE");
  EXPECT_EQ(Status::Error(Code::kTagBounds, "read", "too far").ToString(), "read: too far");
  EXPECT_EQ(Status::Errno("recvmsg", EPIPE).ToString(), "recvmsg (Broken pipe)");
  EXPECT_EQ(Status::Errno("bind", EADDRINUSE, "choose another port").ToString(),
            "bind: choose another port (Address already in use)");
}

// Goal: an errno becomes the code that fits what was tried. Method: the ones that differ between operations,
// and samples.
TEST(StatusTest, ErrnoDependsOnTheOperation) {
  EXPECT_EQ(Status::Errno("connect", ETIMEDOUT).code(), Code::kConnectTimeout);
  EXPECT_EQ(Status::Errno("recvmsg", ETIMEDOUT).code(), Code::kPeerUnresponsive);
  EXPECT_EQ(Status::Errno("connect", ENOENT).code(), Code::kConnectionRefused);
  EXPECT_EQ(Status::Errno("open", ENOENT).code(), Code::kSystem);
  EXPECT_EQ(Status::Errno("mmap", ENOMEM).code(), Code::kOutOfMemory);
  EXPECT_EQ(Status::Errno("accept4", EMFILE).code(), Code::kLimitExceeded);
  const Status status = Status::Errno("recvmsg", ECONNRESET);
  EXPECT_FALSE(status.ok());
  EXPECT_EQ(status.code(), Code::kConnectionLost);
  EXPECT_EQ(status.system_errno(), ECONNRESET);
  EXPECT_STREQ(status.operation(), "recvmsg");
}

// Goal: back-pressure is told from failure. Method: its predicates.
TEST(StatusTest, NoResourceIsNeitherOkNorAFailureWithText) {
  EXPECT_FALSE(Status::NoResource().ok());
  EXPECT_TRUE(Status::NoResource().no_resource());
  EXPECT_TRUE(Status::NoResource().detail().empty());
  EXPECT_FALSE(Status().no_resource());
}

// Goal: a result is a value or a reason, and takes values that only move. Method: one of each.
TEST(StatusTest, ResultHoldsAValueOrAReason) {
  Result<std::unique_ptr<int>> value = std::make_unique<int>(7);
  ASSERT_TRUE(value.ok());
  EXPECT_TRUE(value.status().ok());
  EXPECT_EQ(*std::move(value).value(), 7);
  Result<std::unique_ptr<int>> reason = Status::NoResource();
  EXPECT_FALSE(reason.ok());
  EXPECT_TRUE(reason.status().no_resource());
}

}  // namespace
}  // namespace splitplane
