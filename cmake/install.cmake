# Installation of the library.
