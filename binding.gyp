# How the product is built, and the only place that says so: everything below native/addon as a static library
# without exceptions or RTTI, and the addon that wraps it. Sources join by existing; *.test.cc files belong to
# test/native/CMakeLists.txt. The Sanitize configuration is for tests only: ci/build-native.mjs --sanitize.
{
  'target_defaults': {
    'include_dirs': ['.'],
    'defines': ['_GNU_SOURCE'],
    # Node's own common.gypi switches unused-parameter warnings off and chooses C++17.
    'cflags!': ['-Wno-unused-parameter'],
    'cflags_cc!': ['-std=gnu++17'],
    # gcc 12 at -O3 takes the grown tail of std::vector::insert for out of bounds, so that one warning stays a warning;
    # the sanitizers look for the real thing.
    'cflags': ['-Wall', '-Wextra', '-Werror', '-Wno-error=array-bounds', '-fPIC', '-fvisibility=hidden'],
    'cflags_cc': ['-std=c++20', '-fno-exceptions', '-fno-rtti', '-fvisibility-inlines-hidden'],
    'configurations': {
      'Sanitize': {
        'cflags': ['-O1', '-g1', '-fno-omit-frame-pointer', '-fsanitize=address,undefined', '-fno-sanitize-recover=all'],
        'ldflags': ['-fsanitize=address,undefined'],
      },
    },
  },
  'targets': [
    {
      'target_name': 'splitplane_core',
      'type': 'static_library',
      'sources': [
        "<!@(node -p \"fs.readdirSync('native', { recursive: true }).filter((f) => f.endsWith('.cc') && !f.endsWith('.test.cc') && !f.startsWith('addon/')).sort().map((f) => 'native/' + f).join(' ')\")",
      ],
    },
    {
      'target_name': 'splitplane',
      'type': 'loadable_module',
      'dependencies': ['splitplane_core'],
      'include_dirs': ["<!(node -p \"require('node-addon-api').include_dir\")"],
      # The last one: while a worker is being terminated nothing can be thrown any more, and trying to would end the process.
      'defines': ['NAPI_VERSION=9', 'NAPI_DISABLE_CPP_EXCEPTIONS', 'NODE_API_SWALLOW_UNTHROWABLE_EXCEPTIONS'],
      'sources': [
        "<!@(node -p \"fs.readdirSync('native/addon', { recursive: true }).filter((f) => f.endsWith('.cc') && !f.endsWith('.test.cc')).sort().map((f) => 'native/addon/' + f).join(' ')\")",
      ],
    },
  ],
}
