"""Who decoded which files of the corpus beside us, and where somebody differs: data of tests and of the codecs page."""

from __future__ import annotations

_BASE = "1.2.840.10008.1.2"

# Files that both read, by transfer syntax and decoder. GDCM, pylibjpeg, pyjpegls, pillow and pydicom are pydicom's
# plug-ins, dcmd* are DCMTK's programs, OpenJPH is a library that we use for other depths, ffmpeg has a JPEG 2000 of its
# own. Fewer fail the test.
COMPARED: dict[str, dict[str, int]] = {
    f"{_BASE}.5": {"dcmdrle": 32, "pydicom": 32, "pylibjpeg": 32},
    f"{_BASE}.4.50": {"dcmdjpeg": 38, "gdcm": 39, "pillow": 39, "pylibjpeg": 39},
    f"{_BASE}.4.51": {"dcmdjpeg": 12, "gdcm": 1, "pillow": 1, "pylibjpeg": 8},
    f"{_BASE}.4.53": {"dcmdjpeg": 1},
    f"{_BASE}.4.55": {"dcmdjpeg": 2},
    f"{_BASE}.4.57": {"dcmdjpeg": 9, "gdcm": 9, "pylibjpeg": 9},
    f"{_BASE}.4.70": {"dcmdjpeg": 14, "gdcm": 14, "pylibjpeg": 14},
    f"{_BASE}.4.80": {"dcmdjpls": 26, "gdcm": 26, "pyjpegls": 26, "pylibjpeg": 27},
    f"{_BASE}.4.81": {"dcmdjpls": 10, "gdcm": 10, "pyjpegls": 10, "pylibjpeg": 10},
    f"{_BASE}.4.90": {"ffmpeg": 29, "gdcm": 29, "pillow": 28, "pylibjpeg": 29},
    f"{_BASE}.4.91": {"ffmpeg": 18, "gdcm": 18, "pillow": 18, "pylibjpeg": 18},
    f"{_BASE}.4.201": {"OpenJPH": 3, "pylibjpeg": 3},
    f"{_BASE}.4.203": {"OpenJPH": 1, "pylibjpeg": 1},
}

# Largest differences that come from the decoder and not from the file, and why
OWN_WAY: dict[tuple[str, str], tuple[int, str]] = {
    (uid, "pylibjpeg"): (
        11,
        "colour JPEG: libjpeg as pylibjpeg has it converts and upsamples in its own way; GDCM and dcmdjpeg equal us",
    )
    for uid in (f"{_BASE}.4.50", f"{_BASE}.4.51")
}

_YCC = (
    "Photometric Interpretation says RGB, but the codestream is JFIF, so YCbCr; we follow the codestream, as dcmdjpeg "
    "does with +ca, and others the header"
)
# Files on which a decoder and we differ: which decoders, and who is right
DISAGREEMENTS: dict[str, tuple[tuple[str, ...], str]] = {
    "pylibjpeg-data/ds/JPEGBaseline/SC_rgb_jpeg_lossy_gdcm.dcm": (
        ("dcmdjpeg", "gdcm", "pillow", "pylibjpeg"),
        "Photometric Interpretation says RGB, but the JPEG is 4:2:0 and its colours are right only as YCbCr (the first "
        "bar is the red of the uncompressed original): we follow the codestream, others the header",
    ),
    "gcp-dicomweb-adapter/integration_test/data/example-mg.dcm": (("dcmdjpeg",), _YCC),
    "gcp-dicomweb-adapter/integration_test/data/example.dcm": (("dcmdjpeg",), _YCC),
    "gcp-dicomweb-adapter/integration_test/data/example2.dcm": (("dcmdjpeg",), _YCC),
    "pylibjpeg-data/ds/JPEG2000Lossless/TOSHIBA_J2K_SIZ1_PixRep0.dcm": (
        ("gdcm", "pillow", "pylibjpeg"),
        "codestream samples are signed, Pixel Representation is 0: we follow the codestream and get what stands in "
        "TOSHIBA_J2K_SIZ0_PixRep1.dcm, the same slice; GDCM and pylibjpeg wrap around below zero, pillow shifts",
    ),
    "pydicom-data/HTJ2K_08_RGB.dcm": (
        ("OpenJPH",),
        "samples beyond the range of the irreversible transform: OpenJPH as imagecodecs calls it wraps them around "
        "(255 where 0 is right), OpenJPEG and we clip them",
    ),
}
# Files that others read and we refuse, and why
REFUSED = {
    "fuzz-pwnlabmx/fuzz_corpus_v2/cat04_pixel_data/TC0329_rgb_spp1.dcm": "RGB of one sample is no colour space",
}
# What a reader of the table would not expect of what we write
ONE_MORE_BIT = (
    "JPEG-LS codestreams of 9 to 15 bits say a precision of 16: imagecodecs tells CharLS the depth of the array alone. "
    "Samples and Bits Stored are as they were; with a loss, Bits Stored becomes 16.",
    "Lossy HTJ2K says the depth of Bits Allocated, and so does Bits Stored then. Lossless codestreams say Bits Stored.",
    "JPEG 2000 samples are signed if either the codestream or Pixel Representation says so: numbers below zero do not "
    "wrap around, and what is transcoded gets a true header. Frames had as `application/octet-stream` whose samples "
    "the metadata would have misread, as these or deeper ones than Bits Stored, say what they are in their media type: "
    "`; bits-allocated=16; bits-stored=16; high-bit=15; pixel-representation=1`. The metadata stay the object's.",
    "JPEG Extended of 9 to 11 bits becomes 12 (PS3.5 Table 8.2.1-1 has no other).",
    "JPEG 2000 ends at 24 bits, beyond which OpenJPEG is not exact any more; HTJ2K goes to 32 by OpenJPH.",
    "Colour above 16 bits is written without component transform: Photometric Interpretation stays RGB.",
    "GDCM, pillow and pylibjpeg read JPEG 2000 with OpenJPEG, as we do: for it they are not independent of us. "
    "FFmpeg, which has a decoder of its own, equals us on the corpus and reads what we write. JPEG XL of 8 to 16 "
    "bits is compared with jxl-oxide, and of 8 with Chromium, which reads it with jxl-rs.",
)

# Files that pydicom does not read: the same pixels from somewhere else.
TWINS = {
    "peer-generated/codecs/ct_jxl_lossless.dcm": "pydicom/test_files/CT_small.dcm",
    "pydicom-data/liver_deflate.dcm": "dcmqi/segmentations/liver.dcm",
    "pydicom-data/liver_rle.dcm": "dcmqi/segmentations/liver.dcm",
    "pydicom-data/liver_nonbyte_aligned_deflate.dcm": "pydicom-data/liver_nonbyte_aligned.dcm",
    "pydicom-data/liver_nonbyte_aligned_rle.dcm": "pydicom-data/liver_nonbyte_aligned.dcm",
    "pydicom-data/liver_nonbyte_aligned_j2k.dcm": "pydicom-data/liver_nonbyte_aligned.dcm",
}
# Files that only we read, with nothing here to compare them with, and why others do not read them.
ONLY_WE = {
    "dicom-swift/Compressed/jpeg_baseline_synthetic.dcm": "the JPEG is the value of Pixel Data itself, without items",
    "dicom-swift/DecoderParity/secondary_capture_rgb.dcm": "no Planar Configuration: taken as 0",
    "pydicom-data/emri_small_jpeg_2k_lossless_too_short.dcm": "cut off after its first frames, which are whole",
}
# Codestreams that disagree with their header: what we report of them.
WARNED = {
    "nibabel/nibabel/nicom/tests/data/slicethickness_empty_string.dcm": "codestream precision is 10, Bits Stored is 12",
    "pydicom-data/693_J2KR.dcm": "codestream precision is 14, Bits Stored is 16",
    "pydicom/test_files/J2K_pixelrep_mismatch.dcm": "codestream samples are unsigned, Pixel Representation is 1",
    "pylibjpeg-data/ds/JPEG2000Lossless/TOSHIBA_J2K_SIZ1_PixRep0.dcm": (
        "codestream samples are signed, Pixel Representation is 0"
    ),
    "fuzz-pwnlabmx/fuzz_corpus_v2/cat04_pixel_data/TC0303_bits_highbit_gt_ba.dcm": (
        "High Bit 20 does not fit Bits Stored 12 and is ignored"
    ),
}
