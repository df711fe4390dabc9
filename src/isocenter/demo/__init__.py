"""What `isocenter serve --demo` fills an archive with: a computed CT of the chest, and pydicom's own test files.

`isocenter.demo.objects.demo_objects()` yields them; anatomy.py says what lies where, phantom.py draws it.
"""
