"""Base64, hex, compression and hashes: whole, piece by piece, and large ones without a blocked event loop.

What is decoded is checked: an error names the codec, the place (a position, counted from 0 over all pieces) and what is
wrong there. What is decompressed is limited.
"""

from efio.codecs._base64 import Base64Decoder, Base64Encoder, b64decode, b64encode
from efio.codecs._compression import FORMATS, Compressor, Decompressor
from efio.codecs._errors import CodecError
from efio.codecs._hex import HexDecoder, HexEncoder, hexdecode, hexencode
from efio.codecs._placed import compress, compress_async, decompress, decompress_async, digest, digest_async

__all__ = [
    "FORMATS",
    "Base64Decoder",
    "Base64Encoder",
    "CodecError",
    "Compressor",
    "Decompressor",
    "HexDecoder",
    "HexEncoder",
    "b64decode",
    "b64encode",
    "compress",
    "compress_async",
    "decompress",
    "decompress_async",
    "digest",
    "digest_async",
    "hexdecode",
    "hexencode",
]
