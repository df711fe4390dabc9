"""Who wrote a file or opened an association (PS3.7 D.3.3.2, PS3.10 Table 7.1-1)."""

from __future__ import annotations

# A UUID-derived UID (PS3.5 Annex B.2), made once for this implementation; it changes with the class of implementation,
# not with versions.
IMPLEMENTATION_CLASS_UID = "2.25.296482117307553868207034713412466813521"
IMPLEMENTATION_VERSION_NAME = "ISOCENTER_0_1"
