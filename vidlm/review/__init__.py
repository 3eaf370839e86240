"""What people decide: policies that are drafted and put in force. SQL around the pure rules of `vidlm.moderation`."""
