"""How our pictures compare with DCMTK's over the corpus: data of tests/interop and of docs/reference/rendering.md."""

from __future__ import annotations

# Of each way through the chain: files whose pictures are equal, and files where pixels differ by one grey of 255.
# DCMTK cuts fractions off and we round, so that a window makes the second of most. Fewer equal ones fail the test.
COMPARED: dict[str, tuple[int, int]] = {
    "window of the object": (15, 143),
    "window given to both": (8, 63),
    "VOI LUT Sequence": (1, 0),
    "whole range of 8 bits or of a Modality LUT": (26, 1),
    "colours and palettes": (90, 2),
    "greys beside a supplemental palette": (8, 1),
}
# Those that DCMTK 3.6.7 cannot decode (JPEG 2000, HTJ2K, JPEG XL and others) are transcoded by us for it. Their
# decoding is compared on the page of codecs.
TRANSCODED = 58

ONE_BIT = "DCMTK shows a one-bit 1 as half grey (128) when there is no window; we show the whole range of Bits Stored"
YCBCR = (
    "Photometric Interpretation says RGB and the JPEG is YCbCr by its JFIF marker or its subsampling: DCMTK follows "
    "the header (black turns out [0, 128, 128]), we the codestream"
)
WORDS = (
    "32-bit samples in big endian OW: DCMTK takes the low 16-bit word first, we (as pydicom) the high one, and only "
    "that gives the values of the little endian original of this file"
)
# Files with larger differences, and who is right
DIFFERENCES = {
    "dcm_qa_enh/In/Philips/IM_0027_fMAP.dcm": "DCMTK does not read rescale from functional groups; slope is 1.28 there",
    "gcp-dicomweb-adapter/integration_test/data/example-mg.dcm": YCBCR,
    "gcp-dicomweb-adapter/integration_test/data/example.dcm": YCBCR,
    "gcp-dicomweb-adapter/integration_test/data/example2.dcm": YCBCR,
    "pylibjpeg-data/ds/JPEGBaseline/SC_rgb_jpeg_lossy_gdcm.dcm": YCBCR,
    "pydicom/test_files/rtdose_expb.dcm": WORDS,
    "pydicom/test_files/rtdose_expb_1frame.dcm": WORDS,
    "pydicom-data/SC_ybr_full_uncompressed.dcm": (
        "YBR_FULL (76, 87, 255): blue is 76 + 1.772 * (87 - 128) = 3.3 by the equation; DCMTK's integers give 5"
    ),
}

# What DCMTK's programs do not do, so that something else stands beside us
NOT_DCMTK = {
    "Supplemental palettes (C.7.6.19)": "DCMTK shows all values as greys; the coloured ones are compared with pydicom",
    "Segmented palettes, ICC profiles": "palettes with pydicom's, profiles with the formula of a matrix profile",
    "Display shutters of images": "dcmj2pnm shows none; computed by hand",
    "Rescale and windows of functional groups": "dcmj2pnm gets the window by option",
    "Labels and fractions of segmentations": "we show them up to the largest; dcmj2pnm gets the window by option",
    "Regions of interest in overlays": "we show their outline, or nobody would see what they are about",
    "Pixel Padding": "black here (C.7.5.1.1.2), a grey as any other to DCMTK",
    "Displayed areas of states": "dcmp2pgm shows the whole image; dcmj2pnm cuts, turns and flips by options",
    "Graphics, texts and shutters of states": "dcmp2pgm draws bitmap shutters only; highdicom's and our graphics are "
    "the same picture, and shapes are where the standard puts them",
    "VOI LUT Functions of states": "dcmp2pgm takes each for LINEAR; dcmj2pnm has SIGMOID, highdicom all three",
    "Pseudo-color, color and (advanced) blending states": "highdicom's transforms and the formulas of PS3.4 N.2",
    "Mask subtraction": "DCMTK says that it has none; the sums of PS3.3 C.7.6.10",
}


def page() -> str:
    """The page of the documentation."""
    equal, near = (sum(counts[place] for counts in COMPARED.values()) for place in (0, 1))
    lines = [
        "# Pictures beside DCMTK's",
        "",
        "Every image of the test corpus is rendered by us and by `dcmj2pnm` or `dcml2pnm` of DCMTK 3.6.7, and the",
        "two pictures are compared pixel by pixel. DCMTK cuts fractions of a grey off and we round, so that pixels may",
        f"differ by one of 255. {equal} pictures are equal, {near} differ by one, and for each that differs by more",
        f"the reason stands below. {TRANSCODED} more, in transfer syntaxes that DCMTK does not read, were transcoded",
        "for it.",
        "",
        "| Way through the chain | Equal | Differ by one |",
        "|---|---|---|",
        *(f"| {way} | {one} | {two} |" for way, (one, two) in COMPARED.items()),
        "",
        "Grey images under a grayscale presentation state are compared with `dcmp2pgm` in the same way. What drives a",
        "measured display (`--display`) is that of `dcmj2pnm +Dm`, to one level in 99 of 100 pixels and two in others.",
        "VOI and Modality LUTs of all depths, SIGMOID, palettes and overlays are also made for the purpose.",
        "",
        "## Larger differences",
        "",
    ]
    reasons: dict[str, list[str]] = {}
    for name, reason in DIFFERENCES.items():
        reasons.setdefault(reason, []).append(name)
    lines += [f"- {ONE_BIT}. All images of one bit, as segmentations."]
    for reason, names in reasons.items():
        lines.append(f"- {reason}. {', '.join(f'`{name}`' for name in names)}.")
    lines += ["", "## What is compared with something else", "", "| What | With what |", "|---|---|"]
    lines += [f"| {what} | {how} |" for what, how in NOT_DCMTK.items()]
    lines += [
        "",
        "The tests are in [tests/interop](../../tests/interop/test_render_dcmtk.py), for states",
        "[here](../../tests/interop/test_presentation_states.py) and",
        "[here](../../tests/interop/test_states_highdicom.py).",
    ]
    return "\n".join(lines) + "\n"
