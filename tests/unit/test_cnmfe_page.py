"""The page on CNMF-E: its settings and constants are the code's, and no parameter of other tools is passed over."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import numpy as np
import pytest

from gpucells.candidates import corr_pnr, find, judge, seed_thresholds
from gpucells.cli.estimate import estimate
from gpucells.factorisation import background, judgement, rounds, settle
from gpucells.methods.cnmfe.settings import CnmfeSettings
from gpucells.ops.ring_weights import ring_offsets, ring_weights
from gpucells.preprocess import zero_mean_gaussian
from gpucells.settings import RunSettings

# Of CaImAn 1.12's CNMFParams: these groups wholly, of init what CNMF-E uses.
CAIMAN = {
    "init": """K center_psf gSig gSiz init_iter kernel maxIter method_init min_corr min_pnr nIter nb normalize_init
    ring_size_factor rolling_length rolling_sum seed_method ssub ssub_B tsub""",
    "merging": "do_merge merge_thr merge_parallel",
    "quality": """SNR_lowest cnn_lowest gSig_range min_SNR min_cnn_thr rval_lowest rval_thr use_cnn use_ecc max_ecc""",
    "spatial": """dist expandCore extract_cc maxthr medw method_exp method_ls n_pixels_per_process nb normalize_yyt_one
    nrgthr num_blocks_per_run_spat se ss thr_method update_background_components""",
    "temporal": """ITER bas_nonneg block_size_temp fudge_factor lags method_deconvolution nb noise_method noise_range
    num_blocks_per_run_temp optimize_g p s_min solvers verbosity""",
}
INSCOPIX = """input_movie_path average_cell_diameter gaussian_kernel_size closing_kernel_size min_pixel_correlation
min_peak_to_noise_ratio background_downsampling_factor ring_size_factor merge_threshold processing_mode patch_size
patch_overlap num_threads deconvolve output_units output_filetype output_dir_path verbose"""
MATLAB = """gSig gSiz ssub tsub spatial_algorithm spatial_constraints deconv_options nk detrend_method background_model
ring_radius num_neighbors bg_ssub thresh_outlier bg_acceleration merge_thr merge_thr_spatial dmin dmin_only min_corr
min_pnr min_corr_res min_pnr_res min_pixel bd min_corr_neuron remove_false_positives updateA_search_method"""
TOOLS = ("## CaImAn's parameters", "## CNMF_E's parameters", "## Inscopix CNMF-E's parameters")


@pytest.fixture(scope="module")
def page(repository: Path) -> str:
    return (repository / "docs" / "methods" / "cnmfe.md").read_text(encoding="utf-8")


def section(page: str, title: str) -> str:
    level = title.split(" ", 1)[0]
    return re.split(rf"^#{{2,{len(level)}}} ", page.split(f"\n{title}\n", 1)[1], flags=re.MULTILINE)[0]


def rows_of(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith("| `")]


def named_in(text: str) -> list[str]:
    return [name for row in rows_of(text) for name in re.findall(r"`(\w+)`", row.split(" | ")[0])]


def test_the_table_of_settings_is_the_codes(page: str) -> None:
    written = re.search(r"<!-- settings: .*? -->\n(.*?)\n<!-- end of settings -->", page, re.DOTALL)
    assert written is not None
    assert written[1] == CnmfeSettings.table(), "replace the table by what CnmfeSettings.table() returns"


@pytest.mark.parametrize("group", CAIMAN)
def test_every_parameter_of_caiman_has_a_row(page: str, group: str) -> None:
    assert sorted(named_in(section(page, f"### {group}"))) == sorted(CAIMAN[group].split())


def test_every_parameter_of_inscopix_and_of_the_matlab_package_has_a_row(page: str) -> None:
    assert sorted(named_in(section(page, TOOLS[2]))) == sorted(INSCOPIX.split())
    named = named_in(section(page, TOOLS[1]))
    assert set(MATLAB.split()) <= set(named)
    assert len(named) == len(set(named))


def test_settings_that_rows_point_to_exist(page: str) -> None:
    ours = set(CnmfeSettings.model_fields) | set(RunSettings.model_fields) | {"NUMBA_NUM_THREADS"}
    checked = 0
    for row in (row for title in TOOLS for row in rows_of(section(page, title))):
        assert len(row.split(" | ")) == 2
        answer = row.split(" | ")[1]
        for pattern in (r"^((?:`\w+`(?:, | and )?)+)", r"run: ((?:`\w+`(?:, | and )?)+)"):
            for name in (name for names in re.findall(pattern, answer) for name in re.findall(r"`(\w+)`", names)):
                assert name in ours or name in {"traces"}, f"{name} of {row}"
                checked += 1
    assert checked > 60


def test_settings_that_the_text_names_exist(page: str) -> None:
    ours = set(CnmfeSettings.model_fields)
    text = page.split("## CaImAn's parameters", 1)[0]
    given = re.findall(r"`(\w+) = (?:\w|\.)+`", text) + re.findall(r"--set (\w+)=", text)
    assert set(given) <= ours
    assert len(set(given)) > 7
    options = set(inspect.signature(estimate).parameters)
    for line in (line for line in text.splitlines() if line.startswith("    gpucells estimate")):
        assert {name.replace("-", "_") for name in re.findall(r"--([\w-]+)", line)} <= options


def test_what_the_page_says_of_presets_is_so(page: str) -> None:
    two, one = (CnmfeSettings.for_preset(preset, {}) for preset in ("two_photon", "one_photon"))
    different = {name for name in CnmfeSettings.model_fields if getattr(two, name) != getattr(one, name)}
    said = section(page, "## Settings").split("<!--", 1)[0]
    assert set(re.findall(r"`(\w+) = [^`]+`", said)) == different
    for name in different:
        assert f"`{name} = {getattr(one, name):g}`" in said or f"`{name} = {getattr(one, name)}`" in said


def test_the_options_of_the_background_are_the_codes(page: str) -> None:
    rows = rows_of(section(page, "### The background's options"))
    for row in rows:
        name = row[3:].split(" ", 1)[0]
        assert name in CnmfeSettings.model_fields
    assert CnmfeSettings.from_values({"ring": False}).ring_shape is None
    alone = CnmfeSettings.from_values({"n_background": 0, "ring_outlier": None})
    assert alone.ring_shape is not None
    assert alone.ring_shape.outlier is None


def test_numbers_of_the_page_are_the_codes(page: str) -> None:
    text, ours = re.sub(r"\s+", " ", page), CnmfeSettings()
    ridge = inspect.signature(ring_weights).parameters["ridge"].default
    said = {
        "`ring_radius` (3 cell radii)": ours.ring_radius == 3,
        "means of blocks, one cell radius wide": ours.ring_spacing == 1,
        "about 20 of them": all(abs(len(ring_offsets(r)) - 20) < 5 for r in (2.8, 3.0, 3.2)),
        "10^{-3}\\, \\mathrm{tr}": ridge == 1e-3,
        "more than `ring_outlier` (5) noises": ours.ring_outlier == 5,
        "three times (`searches`)": ours.searches == 3 and rounds.EARLY == 2,
        "is not above 2 noises": corr_pnr.NOISES == 2,
        "$C \\cdot \\mathrm{PNR}$ within half a radius": corr_pnr.NEAR_RADII == 0.5,
        "a Gaussian of half a cell radius": zero_mean_gaussian.SIGMA_RADII == 0.5,
        "$n_- + 3 \\le .2\\, n_+$": seed_thresholds.STRICT == (0.2, 3),
        "(2.2 radii each way)": find.WINDOW_RADII == 2.2,
        "more than 2 noises above the median of the three by three": background.ABOVE_NEIGHBOURS == 2,
        "from 9 blocks an axis on": background.LOCAL == 9,
        "10 rounds of traces and background": settle.HELD_ROUNDS == 10,
        "at most half as bright as a neighbour": judge.ECHO == 0.5,
        "`echo_correlation` (.5)": ours.echo_correlation == 0.5,
        "from 10 candidates on": judgement.FEW == 10,
        "above 2.5 times **and** the SNR below half": np.allclose((judgement.WIDE, judgement.DIM), (2.5, 0.5)),
        "a cosine above .9 are one cell": judgement.SAME_SHAPE == 0.9,
    }
    for words, is_so in said.items():
        assert words in text, words
        assert is_so, words


def test_links_lead_somewhere(page: str, repository: Path) -> None:
    def anchors(text: str) -> set[str]:
        titles = re.findall(r"^#+ (.*)$", text, flags=re.MULTILINE)
        return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}

    links = re.findall(r"\]\(([^)#]*)#?([^)]*)\)", page)
    assert len(links) > 8
    for path, anchor in links:
        target = repository / "docs" / "methods" / path if path else None
        assert target is None or target.is_file(), path
        if anchor:
            assert anchor in anchors(page if target is None else target.read_text(encoding="utf-8")), (path, anchor)
