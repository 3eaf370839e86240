"""What people decide: which policies are in force, which videos are known again. SQL around pure rules."""
