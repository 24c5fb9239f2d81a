/*
 * What libcrypto refers to and wpa_supplicant never calls: compression of TLS and
 * of certificates.
 */
#include <stdlib.h>

void absent(void);
void absent(void) { abort(); }

#define ABSENT(name) void name(void) __attribute__((alias("absent")))
ABSENT(ZSTD_CStreamInSize);
ABSENT(ZSTD_DStreamInSize);
ABSENT(ZSTD_compress);
ABSENT(ZSTD_compressStream2);
ABSENT(ZSTD_createCStream_advanced);
ABSENT(ZSTD_createDStream_advanced);
ABSENT(ZSTD_decompress);
ABSENT(ZSTD_decompressStream);
ABSENT(ZSTD_endStream);
ABSENT(ZSTD_flushStream);
ABSENT(ZSTD_freeCStream);
ABSENT(ZSTD_freeDStream);
ABSENT(ZSTD_getErrorName);
ABSENT(ZSTD_initCStream);
ABSENT(ZSTD_initDStream);
ABSENT(ZSTD_isError);
ABSENT(compress);
ABSENT(deflate);
ABSENT(deflateEnd);
ABSENT(deflateInit_);
ABSENT(inflate);
ABSENT(inflateEnd);
ABSENT(inflateInit_);
ABSENT(uncompress);
ABSENT(zError);
