"""The access function: intercept access points (47 CFR 1.20007(a)(7)). Here a packet comes in."""
