"""rho2prop: material properties from DFT charge densities."""

__version__ = "0.1.0"
