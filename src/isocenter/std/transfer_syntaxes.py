"""Every transfer syntax of PS3.6 Table A-1 (edition 2025), retired ones included, and one private oddity still met.

A row's traits say how its data set is encoded (PS3.5 section 10, Annex A). No trait means explicit VR little endian
with pixel data in encapsulated form, as all compressed ones have it.
"""

from __future__ import annotations

from typing import NamedTuple


class TransferSyntax(NamedTuple):
    """How a data set's bytes are to be read.

    `encapsulated`: Pixel Data are in fragments (PS3.5 A.4). `deflated`: the whole data set is one raw deflate stream.
    `lossy`: pixel data may have lost information. `document`: not a DICOM data set in a file or a C-STORE at all (MIME,
    XML, SMPTE ST 2110 streams), so nothing is to be offered or stored in it. `big_endian_pixels`: the private GE
    syntax, whose data set is little endian and whose Pixel Data are not.
    """

    uid: str
    keyword: str
    name: str
    little: bool = True
    explicit: bool = True
    encapsulated: bool = False
    deflated: bool = False
    lossy: bool = False
    retired: bool = False
    document: bool = False
    big_endian_pixels: bool = False


# Traits: I implicit VR, B big endian, N native pixel data (or none), D deflated data set, L may be lossy, R retired,
# S not a stored data set, G big endian pixels.
_TABLE = """
1.2.840.10008.1.2          IN   ImplicitVRLittleEndian | Implicit VR Little Endian
1.2.840.10008.1.2.1        N    ExplicitVRLittleEndian | Explicit VR Little Endian
1.2.840.10008.1.2.1.98     -    EncapsulatedUncompressedExplicitVRLittleEndian | Encapsulated Uncompressed Explicit VR Little Endian
1.2.840.10008.1.2.1.99     ND   DeflatedExplicitVRLittleEndian | Deflated Explicit VR Little Endian
1.2.840.10008.1.2.2        BNR  ExplicitVRBigEndian | Explicit VR Big Endian
1.2.840.10008.1.2.4.50     L    JPEGBaseline8Bit | JPEG Baseline (Process 1)
1.2.840.10008.1.2.4.51     L    JPEGExtended12Bit | JPEG Extended (Process 2 and 4)
1.2.840.10008.1.2.4.52     LR   JPEGExtended35 | JPEG Extended (Process 3 and 5)
1.2.840.10008.1.2.4.53     LR   JPEGSpectralSelectionNonHierarchical68 | JPEG Spectral Selection, Non-Hierarchical (Process 6 and 8)
1.2.840.10008.1.2.4.54     LR   JPEGSpectralSelectionNonHierarchical79 | JPEG Spectral Selection, Non-Hierarchical (Process 7 and 9)
1.2.840.10008.1.2.4.55     LR   JPEGFullProgressionNonHierarchical1012 | JPEG Full Progression, Non-Hierarchical (Process 10 and 12)
1.2.840.10008.1.2.4.56     LR   JPEGFullProgressionNonHierarchical1113 | JPEG Full Progression, Non-Hierarchical (Process 11 and 13)
1.2.840.10008.1.2.4.57     -    JPEGLossless | JPEG Lossless, Non-Hierarchical (Process 14)
1.2.840.10008.1.2.4.58     R    JPEGLosslessNonHierarchical15 | JPEG Lossless, Non-Hierarchical (Process 15)
1.2.840.10008.1.2.4.59     LR   JPEGExtendedHierarchical1618 | JPEG Extended, Hierarchical (Process 16 and 18)
1.2.840.10008.1.2.4.60     LR   JPEGExtendedHierarchical1719 | JPEG Extended, Hierarchical (Process 17 and 19)
1.2.840.10008.1.2.4.61     LR   JPEGSpectralSelectionHierarchical2022 | JPEG Spectral Selection, Hierarchical (Process 20 and 22)
1.2.840.10008.1.2.4.62     LR   JPEGSpectralSelectionHierarchical2123 | JPEG Spectral Selection, Hierarchical (Process 21 and 23)
1.2.840.10008.1.2.4.63     LR   JPEGFullProgressionHierarchical2426 | JPEG Full Progression, Hierarchical (Process 24 and 26)
1.2.840.10008.1.2.4.64     LR   JPEGFullProgressionHierarchical2527 | JPEG Full Progression, Hierarchical (Process 25 and 27)
1.2.840.10008.1.2.4.65     R    JPEGLosslessHierarchical28 | JPEG Lossless, Hierarchical (Process 28)
1.2.840.10008.1.2.4.66     R    JPEGLosslessHierarchical29 | JPEG Lossless, Hierarchical (Process 29)
1.2.840.10008.1.2.4.70     -    JPEGLosslessSV1 | JPEG Lossless, Non-Hierarchical, First-Order Prediction (Process 14 [Selection Value 1])
1.2.840.10008.1.2.4.80     -    JPEGLSLossless | JPEG-LS Lossless Image Compression
1.2.840.10008.1.2.4.81     L    JPEGLSNearLossless | JPEG-LS Lossy (Near-Lossless) Image Compression
1.2.840.10008.1.2.4.90     -    JPEG2000Lossless | JPEG 2000 Image Compression (Lossless Only)
1.2.840.10008.1.2.4.91     L    JPEG2000 | JPEG 2000 Image Compression
1.2.840.10008.1.2.4.92     -    JPEG2000MCLossless | JPEG 2000 Part 2 Multi-component Image Compression (Lossless Only)
1.2.840.10008.1.2.4.93     L    JPEG2000MC | JPEG 2000 Part 2 Multi-component Image Compression
1.2.840.10008.1.2.4.94     NL   JPIPReferenced | JPIP Referenced
1.2.840.10008.1.2.4.95     NLD  JPIPReferencedDeflate | JPIP Referenced Deflate
1.2.840.10008.1.2.4.100    L    MPEG2MPML | MPEG2 Main Profile / Main Level
1.2.840.10008.1.2.4.100.1  L    MPEG2MPMLF | Fragmentable MPEG2 Main Profile / Main Level
1.2.840.10008.1.2.4.101    L    MPEG2MPHL | MPEG2 Main Profile / High Level
1.2.840.10008.1.2.4.101.1  L    MPEG2MPHLF | Fragmentable MPEG2 Main Profile / High Level
1.2.840.10008.1.2.4.102    L    MPEG4HP41 | MPEG-4 AVC/H.264 High Profile / Level 4.1
1.2.840.10008.1.2.4.102.1  L    MPEG4HP41F | Fragmentable MPEG-4 AVC/H.264 High Profile / Level 4.1
1.2.840.10008.1.2.4.103    L    MPEG4HP41BD | MPEG-4 AVC/H.264 BD-compatible High Profile / Level 4.1
1.2.840.10008.1.2.4.103.1  L    MPEG4HP41BDF | Fragmentable MPEG-4 AVC/H.264 BD-compatible High Profile / Level 4.1
1.2.840.10008.1.2.4.104    L    MPEG4HP422D | MPEG-4 AVC/H.264 High Profile / Level 4.2 For 2D Video
1.2.840.10008.1.2.4.104.1  L    MPEG4HP422DF | Fragmentable MPEG-4 AVC/H.264 High Profile / Level 4.2 For 2D Video
1.2.840.10008.1.2.4.105    L    MPEG4HP423D | MPEG-4 AVC/H.264 High Profile / Level 4.2 For 3D Video
1.2.840.10008.1.2.4.105.1  L    MPEG4HP423DF | Fragmentable MPEG-4 AVC/H.264 High Profile / Level 4.2 For 3D Video
1.2.840.10008.1.2.4.106    L    MPEG4HP42STEREO | MPEG-4 AVC/H.264 Stereo High Profile / Level 4.2
1.2.840.10008.1.2.4.106.1  L    MPEG4HP42STEREOF | Fragmentable MPEG-4 AVC/H.264 Stereo High Profile / Level 4.2
1.2.840.10008.1.2.4.107    L    HEVCMP51 | HEVC/H.265 Main Profile / Level 5.1
1.2.840.10008.1.2.4.108    L    HEVCM10P51 | HEVC/H.265 Main 10 Profile / Level 5.1
1.2.840.10008.1.2.4.110    -    JPEGXLLossless | JPEG XL Lossless
1.2.840.10008.1.2.4.111    L    JPEGXLJPEGRecompression | JPEG XL JPEG Recompression
1.2.840.10008.1.2.4.112    L    JPEGXL | JPEG XL
1.2.840.10008.1.2.4.201    -    HTJ2KLossless | High-Throughput JPEG 2000 Image Compression (Lossless Only)
1.2.840.10008.1.2.4.202    -    HTJ2KLosslessRPCL | High-Throughput JPEG 2000 with RPCL Options Image Compression (Lossless Only)
1.2.840.10008.1.2.4.203    L    HTJ2K | High-Throughput JPEG 2000 Image Compression
1.2.840.10008.1.2.4.204    NL   JPIPHTJ2KReferenced | JPIP HTJ2K Referenced
1.2.840.10008.1.2.4.205    NLD  JPIPHTJ2KReferencedDeflate | JPIP HTJ2K Referenced Deflate
1.2.840.10008.1.2.5        -    RLELossless | RLE Lossless
1.2.840.10008.1.2.6.1      NSR  RFC2557MIMEEncapsulation | RFC 2557 MIME encapsulation
1.2.840.10008.1.2.6.2      NSR  XMLEncoding | XML Encoding
1.2.840.10008.1.2.7.1      NS   SMPTEST211020UncompressedProgressiveActiveVideo | SMPTE ST 2110-20 Uncompressed Progressive Active Video
1.2.840.10008.1.2.7.2      NS   SMPTEST211020UncompressedInterlacedActiveVideo | SMPTE ST 2110-20 Uncompressed Interlaced Active Video
1.2.840.10008.1.2.7.3      NS   SMPTEST211030PCMDigitalAudio | SMPTE ST 2110-30 PCM Digital Audio
1.2.840.10008.1.2.8.1      -    DeflatedImageFrameCompression | Deflated Image Frame Compression
1.2.840.10008.1.20         INR  Papyrus3ImplicitVRLittleEndian | Papyrus 3 Implicit VR Little Endian
1.2.840.113619.5.2         ING  GEPrivateImplicitVRBigEndian | Implicit VR Big Endian (GE private)
"""  # noqa: E501 - a table line is a row


def _row(line: str) -> TransferSyntax:
    head, name = line.split(" | ")
    uid, traits, keyword = head.split()
    return TransferSyntax(
        uid=uid,
        keyword=keyword,
        name=name,
        little="B" not in traits,
        explicit="I" not in traits,
        encapsulated="N" not in traits,
        deflated="D" in traits,
        lossy="L" in traits,
        retired="R" in traits,
        document="S" in traits,
        big_endian_pixels="G" in traits,
    )


TRANSFER_SYNTAXES: dict[str, TransferSyntax] = {row.uid: row for row in map(_row, _TABLE.split("\n")[1:-1])}

IMPLICIT_VR_LITTLE_ENDIAN = "1.2.840.10008.1.2"
EXPLICIT_VR_LITTLE_ENDIAN = "1.2.840.10008.1.2.1"
ENCAPSULATED_UNCOMPRESSED = "1.2.840.10008.1.2.1.98"
DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN = "1.2.840.10008.1.2.1.99"
EXPLICIT_VR_BIG_ENDIAN = "1.2.840.10008.1.2.2"
DEFLATED_IMAGE_FRAME = "1.2.840.10008.1.2.8.1"
RLE_LOSSLESS = "1.2.840.10008.1.2.5"
GE_PRIVATE_IMPLICIT_VR_BIG_ENDIAN = "1.2.840.113619.5.2"


def transfer_syntax(uid: str) -> TransferSyntax:
    """The row of `uid`; a private or future one is taken to be encapsulated, explicit VR little endian.

    That is what PS3.5 A.4 prescribes for compressed pixel data and what every known private syntax but GE's does; its
    name is empty, and `uid in TRANSFER_SYNTAXES` tells the two cases apart.
    """
    known = TRANSFER_SYNTAXES.get(uid)
    return known if known is not None else TransferSyntax(uid, "", "", encapsulated=True, lossy=True)
