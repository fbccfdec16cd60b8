// Addresses: what is understood, how it is printed, what counts as this host, and that everything else is
// refused.
#include "native/transport/address.h"

#include <gtest/gtest.h>

namespace splitplane {
namespace {

// Goal: what is printed is what was parsed.
TEST(AddressTest, RoundTrips) {
  for (const char* text : {"127.0.0.1:4711", "0.0.0.0:0", "[::1]:1", "[2001:db8::7]:65535", "unix:/run/x"}) {
    const Result<Address> address = ParseAddress(text);
    ASSERT_TRUE(address.ok()) << text;
    EXPECT_EQ(address.value().ToString(), text);
  }
}

// Goal: everything else is kAddressInvalid, with a sentence.
TEST(AddressTest, Refuses) {
  const std::string long_path = "unix:/" + std::string(200, 'x');
  for (const std::string& text :
       {std::string(), std::string("localhost:80"), std::string("127.0.0.1"), std::string("127.0.0.1:"),
        std::string("127.0.0.1:65536"), std::string("127.0.0.1:-1"), std::string("127.0.0.1:8x"),
        std::string("127.1:80"), std::string("::1:80"), std::string("[::1]"), std::string("[::1:80"),
        std::string("[]:80"), std::string("[127.0.0.1]:80"), std::string("[fe80::1%nosuch]:80"),
        std::string("unix:"), std::string("unix:relative"), long_path, std::string("unix:/a\0b", 9),
        std::string("1.2.3.4\0:80", 11)}) {
    const Result<Address> address = ParseAddress(text);
    ASSERT_FALSE(address.ok()) << text;
    EXPECT_EQ(address.status().code(), Code::kAddressInvalid) << text;
    EXPECT_FALSE(address.status().detail().empty());
  }
}

// Goal: only this host is local.
TEST(AddressTest, LocalOnly) {
  for (const char* text : {"127.0.0.1:1", "127.9.9.9:1", "[::1]:1", "[::ffff:127.0.0.1]:1", "unix:/x"}) {
    EXPECT_TRUE(ParseAddress(text).value().local_only()) << text;
  }
  for (const char* text :
       {"0.0.0.0:1", "10.0.0.1:1", "128.0.0.1:1", "[::]:1", "[::2]:1", "[::ffff:10.0.0.1]:1"}) {
    EXPECT_FALSE(ParseAddress(text).value().local_only()) << text;
  }
}

}  // namespace
}  // namespace splitplane
