"""Service provider administration: here authority is checked, recorded and withdrawn. It starts nothing by itself."""
