# Build options of GPAW (GPAW_CONFIG points here): serial, FFTW, LibXC, OpenBLAS from Debian.
mpi = False
fftw = True
libraries = ["xc", "openblas", "fftw3"]
