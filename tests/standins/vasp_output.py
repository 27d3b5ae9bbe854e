"""OUTCAR, OSZICAR, vasprun.xml and standard output of the stand-in VASP, written step by step as VASP writes them."""

import sys
from pathlib import Path
from xml.sax.saxutils import escape

import numpy as np
from standins.vasp_files import Crystal, Potential

VERSION = "6.4.2"
RULE = "-" * 40


class Output:
    """The open files of one run; each method writes one stage of it."""

    def __init__(self, folder: Path, incar: dict, full: dict, potentials: list[Potential], mesh: tuple[int, ...]):
        self.folder, self.incar, self.full, self.potentials, self.mesh = folder, incar, full, potentials, mesh
        self.xml = (folder / "vasprun.xml").open("w", buffering=1)
        self.outcar = (folder / "OUTCAR").open("w", buffering=1)
        self.oszicar = (folder / "OSZICAR").open("w", buffering=1)

    def say(self, text: str) -> None:
        """One line of standard output (vasp.out)."""
        print(text, flush=True)

    def begin(self, crystal: Crystal, n_electrons: float, n_bands: int, n_plane_waves: int) -> None:
        """Headers of all files."""
        self.crystal, self.n_electrons, self.n_bands = crystal, n_electrons, n_bands
        full, n_points = self.full, int(np.prod(self.mesh))
        self.say(f" running    1 mpi-ranks, on    1 nodes\n vasp.{VERSION} (stand-in, not VASP)")
        self.say(f" POSCAR found type information on POSCAR: {' '.join(crystal.counts)}")
        self.outcar.write(
            f" vasp.{VERSION} stand-in, not VASP\n\n running    1 mpi-ranks, on    1 nodes\n INCAR:\n"
            + "".join(f" POTCAR:    {potential.title}\n" for potential in self.potentials)
            + "".join(f"{potential.body}\n" for potential in self.potentials)  # OUTCAR repeats parts of the POTCARs
            + f"\n k-points           NKPTS = {n_points:6d}   k-points in BZ     NKDIM = {n_points:6d}"
            f"   number of bands    NBANDS= {n_bands:6d}\n   number of dos      NEDOS =    301   number of ions"
            f"     NIONS = {len(crystal.symbols):6d}\n"
            f"   total plane-waves  NPLWV = {n_plane_waves:6d}\n\n"
            f"   ISPIN  = {full['ISPIN']:6d}    spin polarized calculation?\n"
            f"   NSW    = {full['NSW']:6d}    number of steps for IOM\n"
            f"   IBRION = {full['IBRION']:6d}    ionic relax: 0-MD 1-quasi-New 2-CG\n"
            f"   ISIF   = {full['ISIF']:6d}    stress and relaxation\n"
            f"   ISMEAR = {full['ISMEAR']:6d};   SIGMA  = {full['SIGMA']:6.2f}  broadening in eV\n"
            f"   NELECT = {n_electrons:12.4f}    total number of electrons\n"
            + "".join(f"   ZVAL   = {potential.n_valence:6.2f}\n" for potential in self.potentials)
        )
        kinds = crystal.blocks
        atoms = "".join(
            f"<rc><c>{symbol}</c><c>{kind}</c></rc>\n"
            for kind, (symbol, count) in enumerate(kinds, start=1)
            for _ in range(count)
        )
        types = "".join(
            f"<rc><c>{count}</c><c>{symbol}</c><c>1.0</c><c>{potential.n_valence}</c><c>{escape(potential.title)}</c></rc>\n"
            for (symbol, count), potential in zip(kinds, self.potentials, strict=True)
        )
        points = [(0.0, 0.0, 0.0)]  # one point stands for all, or the file grows with the mesh
        parameters = {**full, "NELECT": float(n_electrons), "NBANDS": n_bands, "IALGO": 38, "ENMAX": full["ENCUT"]}
        parameters |= {"PREC": str(full["PREC"]).lower()[:6]}
        del parameters["ENCUT"], parameters["ALGO"]  # these go by other names there
        self.xml.write(
            '<?xml version="1.0" encoding="ISO-8859-1"?>\n<modeling>\n<generator>\n'
            f'<i name="program" type="string">vasp</i>\n<i name="version" type="string">{VERSION}</i>\n'
            '<i name="subversion" type="string">stand-in, not VASP</i>\n</generator>\n'
            f"<incar>\n{_tags(self.incar)}</incar>\n"
            f'<kpoints>\n<generation param="Gamma">\n<v type="int" name="divisions">{_row(self.mesh)}</v>\n'
            '<v name="usershift">0.0 0.0 0.0</v>\n</generation>\n'
            f'<varray name="kpointlist">\n{_rows(points)}</varray>\n'
            f'<varray name="weights">\n{_rows([(1.0,)])}</varray>\n</kpoints>\n'
            f"<parameters>\n{_tags(parameters)}</parameters>\n"
            f"<atominfo>\n<atoms>{len(crystal.symbols)}</atoms>\n<types>{len(kinds)}</types>\n"
            f'<array name="atoms">\n<set>\n{atoms}</set>\n</array>\n'
            f'<array name="atomtypes">\n<set>\n{types}</set>\n</array>\n</atominfo>\n'
            f"{_structure(crystal, 'initialpos')}"
        )

    def begin_ionic(self, ionic: int) -> None:
        """Start an ionic step."""
        self.xml.write("<calculation>\n")
        self.oszicar.write(
            "       N       E                     dE             d eps       ncg     rms          rms(c)\n"
        )
        if ionic == 1:
            self.say(" entering main loop\n       N       E                     dE             d eps       ncg     rms")

    def electronic(self, ionic: int, step: int, energy_ev: float, change_ev: float) -> None:
        """One electronic step."""
        line = (
            f"DAV: {step:3d}    {energy_ev:.12E}   {change_ev:.5E}   {change_ev / 10:.5E}  1000   {abs(change_ev):.3E}"
        )
        self.oszicar.write(line + "\n")
        self.say(line)
        self.outcar.write(
            f"{RULE} Iteration {ionic:6d}({step:4d})  {RULE}\n"
            f"  entropy T*S    EENTRO =         -0.00000000\n"
            f"  free energy    TOTEN  = {energy_ev:18.8f} eV\n     LOOP:  cpu time    0.0100: real time    0.0100\n"
        )
        self.xml.write(f"<scstep>{_energies(energy_ev)}</scstep>\n")

    def end_ionic(self, ionic: int, crystal: Crystal, energy_ev: float, moment_mub: float, seconds: float) -> None:
        """Energy, forces and geometry at the end of an ionic step."""
        spin = f"  mag= {moment_mub:12.4f}" if self.full["ISPIN"] == 2 else ""
        self.oszicar.write(f"{ionic:4d} F= {energy_ev:.8E} E0= {energy_ev:.8E}  d E ={0.0:.6E}{spin}\n")
        self.say(f"{ionic:4d} F= {energy_ev:.8E} E0= {energy_ev:.8E}  d E ={0.0:.6E}{spin}")
        self.outcar.write(
            f"{RULE} aborting loop because EDIFF is reached {RULE}\n\n"
            f" E-fermi :   5.0000     XC(G=0):  -8.0000     alpha+bet : -7.0000\n\n"
            f" number of electron {self.n_electrons:14.7f} magnetization {moment_mub:14.7f}\n"
            "\n  FREE ENERGIE OF THE ION-ELECTRON SYSTEM (eV)\n  ---------------------------------------------------\n"
            f"  free  energy   TOTEN  = {energy_ev:18.8f} eV\n\n"
            f"  energy  without entropy= {energy_ev:18.8f}  energy(sigma->0) = {energy_ev:18.8f}\n"
            "    total drift:                                0.000010     -0.000010      0.000010\n"
            f"     LOOP+:  cpu time {seconds:9.4f}: real time {seconds:9.4f}\n"
        )
        zeros = [(0.0, 0.0, 0.0)]
        self.xml.write(
            f'{_structure(crystal)}<varray name="forces">\n{_rows(zeros * len(crystal.symbols))}</varray>\n'
            f'<varray name="stress">\n{_rows(zeros * 3)}</varray>\n{_energies(energy_ev)}\n'
        )

    def end_calculation(self) -> None:
        """Close the block of an ionic step that is not the last."""
        self.xml.write("</calculation>\n")

    def end(self, crystal: Crystal, moments_mub: list[float], converged: bool) -> None:
        """Bands, moments and the closing lines; only a run that gets here leaves a readable vasprun.xml."""
        if converged:
            self.say(" reached required accuracy - stopping structural energy minimisation")
            self.outcar.write("\n reached required accuracy - stopping structural energy minimisation\n")
        if self.full["ISPIN"] == 2:
            rows = "".join(
                f"{atom:5d}       0.000   0.000   {moment:5.3f}   {moment:5.3f}\n"
                for atom, moment in enumerate(moments_mub, start=1)
            )
            rule = "-" * 42
            self.outcar.write(
                f"\n\n magnetization (x)\n\n# of ion       s       p       d       tot\n{rule}\n{rows}{rule}\n"
                f"tot         0.000   0.000   {sum(moments_mub):5.3f}   {sum(moments_mub):5.3f}\n\n"
            )
        spins = range(1, self.full["ISPIN"] + 1)
        full_bands = self.n_electrons / 2
        bands = [(2.0 * i - 10.0, min(1.0, max(0.0, full_bands - i))) for i in range(self.n_bands)]
        dos = [(-10.0, 0.0, 0.0), (5.0, 1.0, self.n_electrons), (15.0, 0.0, self.n_electrons)]
        self.xml.write(
            "<eigenvalues>\n<array>\n<set>\n"
            + "".join(
                f'<set comment="spin {s}">\n<set comment="kpoint 1">\n{_rows(bands, "r")}</set>\n</set>\n'
                for s in spins
            )
            + '</set>\n</array>\n</eigenvalues>\n<dos>\n<i name="efermi">5.0</i>\n<total>\n<array>\n<set>\n'
            + "".join(f'<set comment="spin {s}">\n{_rows(dos, "r")}</set>\n' for s in spins)
            + f"</set>\n</array>\n</total>\n</dos>\n</calculation>\n{_structure(crystal, 'finalpos')}</modeling>\n"
        )
        self.outcar.write(
            "\n\n General timing and accounting informations for this job:\n ========================================\n"
            "            Total CPU time used (sec):        1.000\n                   Elapsed time (sec):        1.000\n"
        )
        self.close()

    def close(self) -> None:
        """Close all files as they are."""
        for file in (self.xml, self.outcar, self.oszicar):
            file.close()
        sys.stdout.flush()


def _energies(energy_ev: float) -> str:
    names = ("e_fr_energy", "e_wo_entrp", "e_0_energy")
    return "<energy>" + "".join(f'<i name="{name}">{energy_ev:.8f}</i>' for name in names) + "</energy>"


def _row(values) -> str:
    return " ".join(f"{x:d}" if isinstance(x, int) else f"{x:.10f}" for x in values)


def _rows(rows, tag: str = "v") -> str:
    return "".join(f"<{tag}> {_row(row)} </{tag}>\n" for row in rows)


def _structure(crystal: Crystal, name: str = "") -> str:
    label = f' name="{name}"' if name else ""
    return (
        f'<structure{label}>\n<crystal>\n<varray name="basis">\n{_rows(crystal.lattice)}</varray>\n</crystal>\n'
        f'<varray name="positions">\n{_rows(crystal.frac_coords)}</varray>\n</structure>\n'
    )


def _tags(values: dict) -> str:
    lines = []
    for key, value in values.items():
        if isinstance(value, bool):
            lines.append(f'<i type="logical" name="{key}">{"T" if value else "F"}</i>\n')
        elif isinstance(value, int):
            lines.append(f'<i type="int" name="{key}">{value}</i>\n')
        elif isinstance(value, float):
            lines.append(f'<i name="{key}">{value:.8f}</i>\n')
        elif isinstance(value, list):
            lines.append(f'<v name="{key}">{_row(value)}</v>\n')
        else:
            lines.append(f'<i type="string" name="{key}">{escape(value)}</i>\n')
    return "".join(lines)
