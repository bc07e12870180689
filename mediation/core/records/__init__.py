"""The records that 47 CFR 1.20003 to 1.20005 ask of a carrier, as signed structs, and what is watched over them."""
