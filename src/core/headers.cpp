// The precompiled header of the libraries is made for this file.
