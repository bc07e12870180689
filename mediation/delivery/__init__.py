"""The delivery function: call events become messages and leave for the collection function from here."""
