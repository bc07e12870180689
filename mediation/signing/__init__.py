"""What a person signs with, on his own machine: a file, a PKCS#11 token or a FIDO2 security key. Knows no daemon."""
