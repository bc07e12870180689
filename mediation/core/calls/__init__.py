"""What a call remembers and means: the parts of the call model that core/call.py walks through."""
