"""Writes wilson.csv, mcnemar.csv and holm.csv. Made with statsmodels 0.15.0 (pip install statsmodels).

Run: python3 reference.py
"""
import pathlib

from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint

here = pathlib.Path(__file__).parent
with open(here / "wilson.csv", "w") as out:
    print("successes,n,low,high", file=out)
    for successes, n in [(0, 10), (1, 10), (5, 10), (10, 10), (61, 115), (86, 97), (240, 666), (0, 400), (12, 400)]:
        low, high = proportion_confint(successes, n, alpha=0.05, method="wilson")
        print(successes, n, repr(float(low)), repr(float(high)), sep=",", file=out)
with open(here / "mcnemar.csv", "w") as out:
    print("only_a,only_b,p_value", file=out)
    for a, b in [(0, 0), (0, 1), (3, 3), (1, 9), (12, 30), (0, 40), (150, 210), (5, 80), (400, 700)]:
        p = mcnemar([[4, a], [b, 0]], exact=True).pvalue
        print(a, b, repr(float(p)), sep=",", file=out)
with open(here / "holm.csv", "w") as out:
    p_values = [0.2, 0.01, 0.04, 0.03, 0.005, 0.7, 0.03, 1.0]
    print("p_value,corrected", file=out)
    for p, corrected in zip(p_values, multipletests(p_values, method="holm")[1]):
        print(p, repr(float(corrected)), sep=",", file=out)
