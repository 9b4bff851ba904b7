// The precompiled header of the tests is made for this file.
