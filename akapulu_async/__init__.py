"""The asyncio client for live AI-avatar conversations on Akapulu."""
