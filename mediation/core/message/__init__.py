"""The messages an agency gets, as structs and as octets: T1.678 and PCESP."""
