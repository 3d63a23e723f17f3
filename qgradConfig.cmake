# find_package(qgrad): the target qgrad::qgrad.
include(CMakeFindDependencyMacro)
find_dependency(fmt)
find_dependency(nlohmann_json)
include(${CMAKE_CURRENT_LIST_DIR}/qgradTargets.cmake)
