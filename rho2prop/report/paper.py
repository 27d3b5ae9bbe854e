"""Values that the paper reports, for comparison: arXiv:2605.07227 v1 (8 May 2026)."""

CITATION = "Kumar, Linda, Maurya, Bhowmick, arXiv:2605.07227 (2026)"
URL = "https://arxiv.org/abs/2605.07227"

# R² of Table 1: label, model and features of this workflow that stand for the row, values by target.
# The CGCNN values are those of the table's caption.
ABLATION = (
    ("Latent density, CNN", "attention_cnn", ("latent",), (0.90, 0.80, 0.79, 0.73, 0.68)),
    ("MAGPIE, attention CNN", "attention_cnn", ("magpie",), (0.92, 0.85, 0.85, 0.90, 0.88)),
    (
        "Latent density + MAGPIE, LightGBM",
        "lightgbm",
        ("magpie", "latent_pca"),
        (0.94, 0.87, 0.88, 0.89, 0.96),
    ),
    (
        "Latent density + MAGPIE, attention CNN",
        "attention_cnn",
        ("magpie", "latent"),
        (0.94, 0.85, 0.87, 0.86, 0.88),
    ),
    ("Crystal graph network (CGCNN)", "graph_network", ("graph",), (0.93, 0.88, 0.89, 0.94, None)),
)
ABLATION_TARGETS = (
    "bulk_modulus_gpa",
    "shear_modulus_gpa",
    "youngs_modulus_gpa",
    "debye_temperature_k",
    "atomization_energy_ev_per_atom",
)

# Feature sets of the paper's hybrid models, by their names in this workflow.
HYBRID = {"lightgbm": ("magpie", "latent_pca"), "attention_cnn": ("magpie", "latent")}

# Section 4, mean over its test part, on zero-padded 128³ boxes.
RECONSTRUCTION_MSE = 2.1e-4
RECONSTRUCTION_MAE = 4.02e-3

# Captions of Figs. 8 and 9.
IMPORTANCE = {
    "lightgbm": "the MAGPIE features contribute more across the evaluated properties (Fig. 8)",
    "attention_cnn": "the charge density contributes more across the evaluated properties (Fig. 9)",
}
